//! A program that is nothing but a worker: what `headwater worker` is, for this crate's tests.

fn main() -> std::process::ExitCode {
    ingest::av::worker::main()
}
