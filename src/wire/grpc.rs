//! The workers' protocol, generated from `proto/katagami/worker/v1/worker.proto`.

/// `katagami.worker.v1`
#[expect(
    missing_docs,
    clippy::all,
    clippy::allow_attributes,
    clippy::pedantic,
    reason = "generated code; the .proto file documents it"
)]
pub mod v1 {
    tonic::include_proto!("katagami.worker.v1");
}
