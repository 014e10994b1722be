//! One linker flag: see `src/kafka/ffi/damaged_batch.rs`.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("linux") {
        println!("cargo::rustc-link-arg=-Wl,--wrap=rd_slice_narrow_copy_relative");
    }
}
