//! `verbatim synth`: a corpus of fictional documents.

use std::io::Write;
use std::path::Path;

use verbatim_lab::{SynthConfig, synthesize, write_documents};
use verbatim_store::{Access, Replace};

use crate::args::Synth;
use crate::commands::{Context, existing};
use crate::failure;

pub(crate) fn run(arguments: &Synth, _context: &Context<'_>) -> anyhow::Result<()> {
    let config = SynthConfig { n_documents: arguments.documents, ..SynthConfig::standard(arguments.seed) };
    let documents = synthesize(&config);
    if arguments.output == Path::new("-") {
        let mut sink = std::io::BufWriter::new(std::io::stdout().lock());
        write_documents(&documents, &mut sink, Path::new("standard output")).map_err(failure::product)?;
        sink.flush().map_err(failure::product)?;
        return Ok(());
    }
    let mut file = Replace::create(&arguments.output, Access::Shared, existing(arguments.force))?;
    write_documents(&documents, &mut file, &arguments.output)?;
    file.finish()?;
    Ok(())
}
