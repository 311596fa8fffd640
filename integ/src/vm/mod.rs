//! The QEMU runner: options → payload → machine → shell → command → exit status.
//!
//! `boot` and `scan` are pure state machines over the bytes of a serial line, and carry all the knowledge of what a
//! guest prints; `machine` owns the QEMU process; `session` is the one that talks.

mod boot;
mod machine;
pub mod options;
mod payload;
mod scan;
mod session;
mod terminal;
#[cfg(test)]
mod tests;

use self::machine::Machine;
use self::options::{Accelerator, Options};
use self::payload::Payload;
use self::session::Session;
use anyhow::{Result, bail};
use std::io::Write;

/// Boots the machine, runs the command in it with its output to `output`, and returns the command's exit status.
///
/// With `--accel auto` a machine that stays silent under KVM is started again under TCG.
pub fn run(options: &Options, output: &mut dyn Write) -> Result<u8> {
    options.check()?;
    let payload = Payload::build(&options.payload, &options.script(), options.payload_limit())?;
    let mut accelerators = options.accelerators().into_iter().peekable();
    while let Some(accelerator) = accelerators.next() {
        let last = accelerators.peek().is_none();
        match attempt(options, &payload, accelerator, output) {
            Err(error) if !last && error.downcast_ref::<session::Silent>().is_some() => {
                eprintln!("vm: {error} under {accelerator}; trying again without hardware virtualisation");
            }
            outcome => return outcome,
        }
    }
    bail!("no way to run a machine was tried")
}

fn attempt(options: &Options, payload: &Payload, accelerator: Accelerator, output: &mut dyn Write) -> Result<u8> {
    let machine = Machine::start(options, payload, accelerator)?;
    let mut session = Session::new(machine, options, accelerator);
    session.reach_shell()?;
    session.unpack(payload)?;
    let status = if options.shell { session.interactive(output)? } else { session.run_script(output)? };
    if options.keep && !options.shell {
        eprintln!("vm: the command ended with {status}; the machine is kept");
        session.interactive(output)?;
    }
    session.power_off();
    Ok(status)
}
