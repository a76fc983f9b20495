//! Applies a layer to a folder and tells how long it took: `apply LAYER FOLDER`. For measuring beside `tar`.

use std::time::Instant;

use gantry_layer::{Options, Target, apply};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(layer), Some(folder)) = (arguments.next(), arguments.next()) else {
        return Err("usage: apply LAYER FOLDER".into());
    };
    let begun = Instant::now();
    let target = Target::Directory(folder.into());
    let applied = apply(std::fs::File::open(layer)?, &target, &Options::default())?;
    let seconds = begun.elapsed().as_secs_f64();
    println!(
        "{} entries, {} bytes in {seconds:.3} s: {:.0} MB/s",
        applied.entries,
        applied.size,
        applied.size as f64 / seconds / 1e6
    );
    Ok(())
}
