//! `/openapi.json`: what no route says of itself.

use std::sync::Arc;

use axum::{Extension, Json};
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

/// Describes every route, this one included.
#[utoipa::path(
    get, path = "/openapi.json", tag = "server", operation_id = "describe", security(()),
    responses((status = OK, content_type = "application/json"))
)]
pub async fn show(document: Extension<Arc<utoipa::openapi::OpenApi>>) -> Json<utoipa::openapi::OpenApi> {
    Json(document.as_ref().clone())
}

/// Gives what answers GET and HEAD two identifiers: the format wants one for each operation.
pub fn tell_apart(document: &mut utoipa::openapi::OpenApi) {
    for item in document.paths.paths.values_mut() {
        if let Some(id) = item.head.as_mut().and_then(|head| head.operation_id.as_mut()) {
            id.insert_str(0, "head_");
        }
    }
}

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
