//! The fork server itself: a clean copy of the program that never runs `main`.

use std::io::ErrorKind;

use procession_sys::crash_point;
use procession_sys::image::Image;
use procession_sys::settings::{self, Stream};
use procession_sys::start::{self, Fork};
use procession_sys::wire::Wire;
use procession_sys::{Handle, process, runtime, tether as tethers};

use super::{Origin, UNUSABLE, enter, give_up, prepare};
use crate::codec::{self, Carried};
use crate::frame::Frame;
use crate::handoff::{Reply, Request, server_title};

/// The server itself: forks for every request, until its program is gone.
pub(crate) fn serve(wire: Wire, tether: Handle, nonce: u64) -> ! {
    if let Err(message) = detach(&wire, tether, nonce) {
        give_up(&message);
    }
    // A copy has one thread: whatever locks others hold would stay locked in it for ever.
    if !process::count_threads().is_ok_and(|count| count == 1) {
        let _ = Reply::Unusable.send(&wire);
        runtime::exit_now(0);
    }
    // CRASH (server.ready): no request was taken; the program's next one finds the wire hung up and
    // launches another server.
    crash_point!("server.ready");
    // What is the same for every child is done once, here.
    let _ = Image::main().identity();
    prepare();
    loop {
        // End of file, or a wire that cannot be used any more: the program launches another.
        let Ok(mut frame) = Frame::receive(&wire, true) else { runtime::exit_now(0) };
        let handles = frame.take_handles();
        let Ok(request) = codec::decode::<Request>(&frame, handles, "the request") else {
            runtime::exit_now(UNUSABLE)
        };
        // Its buffer is the one into which the copy receives: warm, and not cleared again.
        drop(frame);
        let (theirs, environment) = (request.wire.into_handle(), request.environment);
        // CRASH (server.requested): there is no child; `adopt` finds none and tries again.
        crash_point!("server.requested");
        // SAFETY: the server is single-threaded: it has counted, and starts no thread itself.
        let reply = match unsafe { start::fork_sibling() } {
            Ok(Fork::Child) => {
                drop(wire);
                tethers::untie_copy();
                // CRASH (entry.forked): as any death before the target: the program has the handle.
                crash_point!("entry.forked");
                match theirs.map(Wire::from_handle) {
                    Some(Ok(wire)) => enter(wire, Origin::Forked { environment }),
                    _ => runtime::exit_now(UNUSABLE),
                }
            }
            Ok(Fork::Parent(child)) => {
                // CRASH (server.forked): there is a child of which the program does not know; its
                // hello, or its title, tells `adopt`.
                crash_point!("server.forked");
                let pid = child.pid();
                Reply::Started { pid, handle: Carried::new(child.into_handle()) }
            }
            Err(error) => Reply::Failed { code: error.raw_os_error().unwrap_or(0) },
        };
        drop(theirs);
        if reply.send(&wire).is_err() {
            runtime::exit_now(UNUSABLE);
        }
        // CRASH (server.replied): the child is the program's; the next start launches a server.
        crash_point!("server.replied");
    }
}

/// Lets go of everything of the program's: terminal, files, directory, signals.
fn detach(wire: &Wire, tether: Handle, nonce: u64) -> Result<(), String> {
    runtime::block_all_signals();
    settings::close_inherited(&[wire.handle(), procession_sys::borrow(&tether)]);
    // The thread that has launched it may be confined to some processors; the program is not.
    let _ = settings::take_affinity_of(process::parent_pid());
    match tethers::tie(tether) {
        Ok(()) => {}
        // Its program is dead: nobody wants to hear of it.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => runtime::exit_now(UNUSABLE),
        Err(error) => return Err(format!("it cannot be tied to its program's life: {error}")),
    }
    let null = settings::null().map_err(|e| format!("there is no /dev/null: {e}"))?;
    for stream in [Stream::In, Stream::Out, Stream::Err] {
        settings::set_stream(stream, procession_sys::borrow(&null)).map_err(|e| e.to_string())?;
    }
    let root = settings::open_directory("/".as_ref()).map_err(|e| e.to_string())?;
    settings::enter_directory(root).map_err(|e| e.to_string())?;
    settings::set_title(&server_title(nonce));
    Ok(())
}
