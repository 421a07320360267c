//! The workers' protocol, by a real client over a real connection: what a
//! worker is told, what it may do, and what is refused.

mod judged;
mod leases;
mod lists;
mod persona;
mod results;
