//! The control socket: one thread per connection, one request each.

use std::io::{BufReader, BufWriter, Write};
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::sync::mpsc::RecvTimeoutError;
use std::thread;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde_json::{Value, json};
use vpclab_dataplane::worker::{CaptureEvent, CaptureFilter};

use super::{Lab, attach, change, drops, faults, show, top};
use crate::cli::CliError;
use crate::filter::Packet;
use crate::graph;
use crate::host::capture::CaptureWriter;
use crate::host::init_client::InitClient;
use crate::host::protocol::{CaptureRequest, Reply, Request, TraceRequest};
use crate::host::{Context, HostError, line};
use crate::topology::export;

/// Captured frames that may wait for their reader.
const CAPTURE_QUEUE: usize = 8192;
/// An idle capture looks this often whether its reader is still there.
const READER_CHECK: Duration = Duration::from_millis(200);

/// Serves connections on threads of their own.
pub(super) fn start(lab: Arc<Lab>, listener: UnixListener) -> Result<(), HostError> {
    let serve = move || {
        for stream in listener.incoming().filter_map(Result::ok) {
            if !line::is_peer_allowed(&stream) {
                continue;
            }
            let lab = Arc::clone(&lab);
            // Without a thread the caller sees the connection closed.
            let _ = thread::Builder::new().spawn(move || converse(&lab, &stream));
        }
    };
    thread::Builder::new()
        .name("control".to_owned())
        .spawn(serve)
        .context("thread")?;
    Ok(())
}

fn converse(lab: &Lab, stream: &UnixStream) {
    let Ok(copy) = stream.try_clone() else { return };
    let request = match line::receive::<Request>(&mut BufReader::new(copy)) {
        Ok(Some(request)) => request,
        Ok(None) => return,
        Err(error) => {
            let failure = CliError::usage(format!("not a request: {error}")).into();
            let _ = line::send(stream, &Reply::Failed(failure));
            return;
        }
    };
    let result = match request {
        Request::Capture(request) => capture(lab, stream, &request),
        Request::Attach { interfaces } => attach::attach(lab, stream, interfaces)
            .and_then(|value| Ok(line::send(stream, &Reply::Ok(value))?)),
        other => answer(lab, other).and_then(|value| Ok(line::send(stream, &Reply::Ok(value))?)),
    };
    if let Err(error) = result {
        // The reader may be gone: then there is nobody to tell.
        let _ = line::send(stream, &Reply::Failed(error.into()));
    }
}

fn answer(lab: &Lab, request: Request) -> Result<Value, CliError> {
    match request {
        Request::Ready => {
            lab.wait_ready().map_err(CliError::from)?;
            drop(lab.lock_changes());
            let http = lab.http_at().map(crate::http::url);
            Ok(json!({"lab": lab.dir.name(), "http": http}))
        }
        Request::Ps => value(&show::ps(lab)?),
        Request::Inspect { id } => value(&show::inspect(lab, id.as_deref())?),
        Request::Flows(request) => value(&show::flows(lab, &request)?),
        Request::Drops(request) => value(&drops::answer(lab, &request)?),
        Request::Top => value(&top::answer(lab)?),
        Request::Graph { format } => {
            let control = lab.model.control();
            value(&graph::picture(control.model(), lab.dir.name(), format))
        }
        Request::Export { account } => {
            let file = lab.model.file();
            let control = lab.model.control();
            let mut topology = file.topology.clone();
            lab.dir.name().clone_into(&mut topology.name.value);
            value(&export::export(
                control.model(),
                &topology,
                &file.names,
                &account,
            ))
        }
        Request::Trace(request) => trace(lab, &request),
        Request::Change { state, dry_run } => {
            lab.wait_ready().map_err(CliError::from)?;
            let _alone = lab.lock_changes();
            let report = change::change(lab, *state, dry_run)?;
            serde_json::to_value(report).map_err(|error| CliError::fault(error.to_string()))
        }
        Request::Fault(request) => value(&faults::answer(lab, request)?),
        Request::Restart { host } => restart(lab, &host),
        Request::AttachPlan { name } => attach::plan(lab, &name),
        Request::Detach { name } => attach::detach(lab, &name),
        Request::Attach { .. } | Request::Capture(_) => {
            Err(CliError::fault("this request is more than a question"))
        }
    }
}

/// Traces with the running pipeline's seed, so that it says what a real packet
/// would get.
fn trace(lab: &Lab, request: &TraceRequest) -> Result<Value, CliError> {
    let control = lab.model.control();
    let seed = lab
        .worker
        .visit(|pipeline, _, _| pipeline.connections().seed.0)
        .context("trace")?;
    let report = crate::trace::answer(control.model(), &control.tables().load(), request, seed)?;
    value(&report)
}

fn value(report: &impl serde::Serialize) -> Result<Value, CliError> {
    serde_json::to_value(report).map_err(|error| CliError::fault(error.to_string()))
}

/// Ends a host's programs and starts them anew.
fn restart(lab: &Lab, host: &str) -> Result<Value, CliError> {
    let hosts = lab.model.hosts();
    let Some(found) = hosts.iter().find(|known| known.name == host) else {
        let names: Vec<_> = hosts.iter().map(|host| host.name.as_str()).collect();
        return Err(CliError::usage(format!("no host is named `{host}`"))
            .fix(format!("one of {}", names.join(", "))));
    };
    InitClient::connect_as_child(&lab.dir)?.restart(host)?;
    Ok(json!({"host": host, "commands": found.commands.len()}))
}

fn capture(lab: &Lab, stream: &UnixStream, request: &CaptureRequest) -> Result<(), CliError> {
    let port = request.port.as_deref();
    let enis = port.map(|port| lab.model.ports(port)).transpose()?;
    let filter = drops::parse(lab, request.filter.as_deref())?;
    let accept = filter.map(|filter| {
        let wants = move |event: &CaptureEvent| {
            filter.wants(&Packet::of_frame(event.eni, &event.bytes, event.dropped))
        };
        Arc::new(wants) as Arc<dyn Fn(&CaptureEvent) -> bool + Send + Sync>
    });
    let events = lab
        .worker
        .capture(CaptureFilter { enis, accept }, CAPTURE_QUEUE)
        .context("capture")?;
    line::send(stream, &Reply::Ok(Value::Null))?;
    let mut left = request.count.unwrap_or(u64::MAX);
    let out = BufWriter::with_capacity(1 << 16, stream);
    let mut writer = CaptureWriter::new(out, lab.worker.clock())?;
    let mut explainer = drops::Explainer::default();
    // Errors from here on mean that the reader went away: the normal end.
    while left > 0 {
        // What is buffered is shown before waiting for more.
        let event = match events.try_recv() {
            Ok(event) => event,
            Err(_) => {
                if writer.get_mut().flush().is_err() {
                    return Ok(());
                }
                match events.recv_timeout(READER_CHECK) {
                    Ok(event) => event,
                    Err(RecvTimeoutError::Timeout) if is_open(stream) => continue,
                    Err(_) => return Ok(()),
                }
            }
        };
        let comment = explainer.comment(lab, &event);
        let name = |eni| lab.model.interface_name(eni);
        if writer.write(event, comment, name).is_err() {
            return Ok(());
        }
        left -= 1;
    }
    let _ = writer.get_mut().flush();
    Ok(())
}

/// A reader sends nothing after its request: readable means closed.
fn is_open(stream: &UnixStream) -> bool {
    let mut descriptors = [PollFd::new(stream.as_fd(), PollFlags::POLLIN)];
    matches!(poll(&mut descriptors, PollTimeout::ZERO), Ok(0))
}
