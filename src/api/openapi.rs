//! `/openapi.json`: what no route says of itself.

use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};

use crate::wire::problem::ProblemDocument;

/// The frame of the document; routes add themselves.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Katagami",
        description = "Adapts one frozen vision model to many factories by binary masks.\n\n\
            Errors are problem documents (RFC 9457) with a stable `code`. What belongs to another site \
            is answered 404. A POST with an `Idempotency-Key` can be repeated: the same key and body give \
            the first answer again, the same key with another body is refused with 422. Uploads take the \
            key, too, but need none: an image is known by its bytes, so sending it again changes nothing."
    ),
    components(schemas(ProblemDocument)),
    security(("token" = [])),
    modifiers(&Bearer)
)]
pub struct Document;

/// Bearer tokens.
struct Bearer;

impl Modify for Bearer {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("`ktg_…`, made with `katagami admin token create`"))
            .build();
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("token", SecurityScheme::Http(scheme));
    }
}
