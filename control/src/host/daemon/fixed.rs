//! What a second `up` cannot change, because it is how the lab itself runs.

use std::net::SocketAddr;

use super::{Lab, load};
use crate::cli::CliError;
use crate::host::runtime_dir::State;
use crate::http::{HttpChoice, local, url};

/// Takes from `before`, of which the lab runs, what `state` leaves open; an
/// error if it asks for something else than there is.
pub(super) fn keep(lab: &Lab, before: &State, state: &mut State) -> Result<(), CliError> {
    state.workers = state.workers.or(before.workers);
    state.time_scale = state.time_scale.or(before.time_scale);
    if state.http == HttpChoice::Default {
        state.http = before.http;
    }
    state.credentials = state.credentials.take().or(before.credentials.clone());
    if state.credentials != before.credentials {
        let now = before.credentials.as_ref().map_or_else(
            || "believes everybody".to_owned(),
            |file| format!("takes the credentials of {}", file.display()),
        );
        return Err(refuse(format!("the lab {now} and cannot change that")));
    }
    state.state_file = state.state_file.take().or(before.state_file.clone());
    if state.state_file != before.state_file {
        let now = before.state_file.as_ref().map_or_else(
            || "in memory".to_owned(),
            |file| format!("in {}", file.display()),
        );
        return Err(refuse(format!(
            "the lab keeps its resources {now} and cannot change that"
        )));
    }
    for (wanted, has, option) in [
        (state.default_vpc, before.default_vpc, "--default-vpc"),
        (state.allow_reset, before.allow_reset, "--allow-reset"),
        (state.run_user_data, before.run_user_data, "--run-user-data"),
    ] {
        if wanted && !has {
            return Err(refuse(format!(
                "the lab runs without {option} and cannot change that"
            )));
        }
    }
    state.ip_ranges = state.ip_ranges.take().or(before.ip_ranges.clone());
    if state.ip_ranges != before.ip_ranges {
        return Err(refuse(
            "the lab takes AWS's addresses as it did at its start and cannot change that"
                .to_owned(),
        ));
    }
    state.default_vpc = before.default_vpc;
    state.attach_only = before.attach_only;
    (state.allow_reset, state.run_user_data) = (before.allow_reset, before.run_user_data);
    let (workers, options) = load::settings(state)?;
    let running = lab.worker.workers();
    if usize::from(workers) != running {
        let plural = if running == 1 { "" } else { "s" };
        return Err(refuse(format!(
            "the lab runs with {running} packet worker{plural} and cannot change to {workers}"
        )));
    }
    if options != load::settings(before)?.1 {
        return Err(refuse(
            "the lab's packet workers run by the `settings` of its file, which cannot change"
                .to_owned(),
        ));
    }
    let file_scale = load::parse(state)?.time_scale();
    let scale = state.time_scale.unwrap_or(file_scale);
    if scale != lab.time_scale() {
        return Err(refuse(format!(
            "the lab's clock runs {} times as fast as ours and cannot change to {scale}",
            lab.time_scale()
        )));
    }
    http(lab.http_at(), load::http(state)?)
}

/// Whether the lab listens as it is asked to.
fn http(running: Option<SocketAddr>, wanted: HttpChoice) -> Result<(), CliError> {
    let fits = match wanted {
        HttpChoice::Default => true,
        HttpChoice::Port(0) => running.is_some(),
        HttpChoice::Port(port) => running == Some(local(port)),
        HttpChoice::At(at) if at.port() == 0 => running.is_some_and(|is| is.ip() == at.ip()),
        HttpChoice::At(at) => running == Some(at),
        HttpChoice::Off => running.is_none(),
    };
    if fits {
        return Ok(());
    }
    let now = running.map_or("serves no HTTP".to_owned(), |at| {
        format!("serves {}", url(at))
    });
    Err(refuse(format!("the lab {now} and cannot change that")))
}

fn refuse(what: String) -> CliError {
    CliError::usage(format!("{what} while it runs")).fix("end the lab first: vpclab down")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_is_served_already_is_no_change() {
        use HttpChoice::{At, Default, Off, Port};
        let every: SocketAddr = "0.0.0.0:4567".parse().unwrap();
        for (running, wanted, fits) in [
            (Some(local(4567)), Default, true),
            (None, Default, true),
            (Some(local(4567)), Port(4567), true),
            (Some(local(4567)), Port(0), true),
            (Some(local(4567)), Port(4568), false),
            (Some(local(4567)), At(every), false),
            (Some(every), At(every), true),
            (Some(every), Port(4567), false),
            (Some(local(4567)), Off, false),
            (None, Off, true),
            (None, Port(0), false),
        ] {
            assert_eq!(
                http(running, wanted).is_ok(),
                fits,
                "{running:?} {wanted:?}"
            );
        }
        let error = http(Some(local(4567)), Off).unwrap_err();
        assert!(error.message.contains("http://127.0.0.1:4567"), "{error}");
    }
}
