//! Lets `katagami-worker` find libtorch without an environment variable.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // torch-sys says where it found libtorch; it is there only with feature `worker`.
    println!("cargo:rerun-if-env-changed=DEP_TCH_LIBTORCH_LIB");
    if let Some(libtorch) = std::env::var_os("DEP_TCH_LIBTORCH_LIB") {
        let libtorch = libtorch.to_string_lossy();
        for place in [libtorch.as_ref(), "$ORIGIN/../lib/katagami"] {
            println!("cargo:rustc-link-arg-bin=katagami-worker=-Wl,-rpath,{place}");
        }
    }
}
