//! What crosses a process border: the JSON of the REST API, problem
//! documents, and the workers' protocol. Types without logic, shared by
//! server, commands, worker and edge, so that both ends are compiled from one
//! definition.

#[cfg(feature = "grpc")]
pub mod grpc;
pub mod problem;
pub mod v1;
