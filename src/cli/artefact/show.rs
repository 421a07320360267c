//! `katagami artefact show`: a mask's file in words.

use serde_json::json;

use super::printer;
use crate::mask::Artefact;
use crate::mask::cascade::Experts;

/// Prints what `artefact` is bound to, what it drops and where its bytes go.
pub(super) fn show(artefact: &Artefact, as_json: bool) {
    let Artefact {
        header,
        architecture,
        sizes,
        ..
    } = artefact;
    let by_tensor = artefact.dropped_by_tensor();
    if as_json {
        return printer::json(&json!({
            "architecture": architecture.name,
            "header": header,
            "format": artefact.version,
            "coding": artefact.coding(),
            "masked_tensors": by_tensor.len(),
            "masked_weights": artefact.weights(),
            "dropped_weights": artefact.dropped(),
            "density": artefact.density(),
            "bytes": { "total": sizes.total(), "parts": sizes },
            "experts": artefact.experts.as_ref().map(in_json),
        }));
    }
    let say = |what: &str, value: &dyn std::fmt::Display| printer::line(&format!("{what:<16}{value}"));
    say(
        "mask",
        &format_args!(
            "version {} of site {}, made {}",
            header.version, header.site, header.created_at
        ),
    );
    say("base", &format_args!("{} ({})", header.base, architecture.name));
    say("preprocessing", &header.preprocessing);
    if !header.view.is_default() {
        say(
            "view",
            &format_args!("{} ({})", header.view, header.view.digest()),
        );
    }
    say("snapshot", &header.snapshot);
    say("recipe", &header.recipe);
    say("weights", &format_args!("{} once applied", header.weights));
    if let Some(report) = header.report {
        say("report", &report);
    }
    let profile = &header.profile;
    say(
        "trained on",
        &format_args!(
            "libtorch {}, {}, {} threads, {}",
            profile.libtorch, profile.device, profile.threads, profile.instructions
        ),
    );
    say(
        "drops",
        &format_args!(
            "{} of {} weights in {} tensors ({:.4} % kept)",
            artefact.dropped(),
            artefact.weights(),
            by_tensor.len(),
            100.0 * artefact.density()
        ),
    );
    say(
        "bytes",
        &format_args!(
            "{} in all: header {}, bits {}, BatchNorm statistics {}, frame {}{}",
            sizes.total(),
            sizes.header,
            sizes.bits,
            sizes.norms,
            sizes.frame,
            sizes
                .experts
                .map_or_else(String::new, |experts| format!(", experts {}", experts.total()))
        ),
    );
    say(
        "coded",
        &format_args!("format {}, {}", artefact.version, artefact.coding()),
    );
    if let (Some(experts), Some(sizes)) = (&artefact.experts, sizes.experts) {
        say(
            "experts",
            &format_args!(
                "{} in {} bytes: router {}, masks as deltas {}, joint embedding of {} numbers {}",
                experts.count(),
                sizes.total(),
                sizes.router,
                sizes.masks,
                experts.joint.width(),
                sizes.joint
            ),
        );
        for number in 1..=experts.count() {
            let weights = experts.weights(number).map(|weights| weights.to_string());
            say(
                &format!("expert {number}"),
                &format_args!("{} once applied", weights.unwrap_or_default()),
            );
        }
    }
    if let Some(parent) = header.parent {
        say("delta to", &parent);
    }
    if let Some(prior) = header.prior {
        say("with prior", &prior);
    }
    let rows: Vec<_> = by_tensor
        .into_iter()
        .filter(|(_, dropped)| *dropped > 0)
        .map(|(index, dropped)| {
            let tensor = &architecture.tensors[index];
            let share = 100.0 * (1.0 - dropped as f64 / tensor.len() as f64);
            [
                tensor.name.clone(),
                tensor.len().to_string(),
                dropped.to_string(),
                format!("{share:.4} %"),
            ]
        })
        .collect();
    if !rows.is_empty() {
        printer::line("");
        printer::table(["TENSOR", "WEIGHTS", "DROPPED", "KEPT"], &rows);
    }
}

fn in_json(experts: &Experts) -> serde_json::Value {
    json!({
        "count": experts.count(),
        "components": experts.router.projection.width(),
        "width": experts.joint.width(),
        "weights": (1..=experts.count()).map(|number| experts.weights(number)).collect::<Vec<_>>(),
    })
}
