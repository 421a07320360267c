//! Compiles the workers' protocol, and lets `katagami-worker` and benchmarks find
//! libtorch without an environment variable.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=migrations");
    // rust-embed notices changed files by itself, but not new ones.
    println!("cargo:rerun-if-changed=dashboard");
    println!("cargo:rerun-if-changed=proto");
    // protox is a compiler in Rust: no installed protoc.
    let descriptors = protox::compile(["katagami/worker/v1/worker.proto"], ["proto"])?;
    tonic_prost_build::configure().compile_fds(descriptors)?;
    // torch-sys says where it found libtorch; it is there only with feature `worker`.
    println!("cargo:rerun-if-env-changed=DEP_TCH_LIBTORCH_LIB");
    if let Some(libtorch) = std::env::var_os("DEP_TCH_LIBTORCH_LIB") {
        let libtorch = libtorch.to_string_lossy();
        for place in [libtorch.as_ref(), "$ORIGIN/../lib/katagami"] {
            println!("cargo:rustc-link-arg-bin=katagami-worker=-Wl,-rpath,{place}");
        }
        println!("cargo:rustc-link-arg-benches=-Wl,-rpath,{libtorch}");
    }
    Ok(())
}
