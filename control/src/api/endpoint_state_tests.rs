//! Who may connect, and every step between an endpoint's states.

use super::*;

/// `pendingAcceptance` and what the provider makes of it, step by step: what is
/// asked, what the provider is told, and the state after it.
#[test]
fn every_step_between_states_is_one_or_is_refused() {
    const ACCEPT: bool = true;
    const REJECT: bool = false;
    for (steps, states) in [
        (
            &[ACCEPT, ACCEPT, REJECT][..],
            &["available", "available", "rejected"][..],
        ),
        (&[REJECT, REJECT], &["rejected", "rejected"]),
        (&[REJECT, ACCEPT], &["rejected", "rejected"]),
        (
            &[ACCEPT, REJECT, ACCEPT],
            &["available", "rejected", "rejected"],
        ),
    ] {
        let mut f = fixture(LoadBalancerKind::Network, true);
        let request = f.request(&[&f.a]);
        let id = f.consume(request).unwrap();
        for (n, (&step, wanted)) in steps.iter().zip(states).enumerate() {
            let refused = match step {
                ACCEPT => f.accept(&id),
                REJECT => f.reject(&id),
            };
            let state = f.control.model().get(&id).unwrap().state.name();
            assert_eq!(state, *wanted, "step {n}");
            assert_eq!(f.row(&id).available, state == "available");
            // A rejected one cannot be accepted any more.
            let late = step == ACCEPT && state == "rejected";
            let code = refused.first().map(|it| &*it.error.code);
            assert_eq!(code, late.then_some("InvalidState"), "step {n}");
        }
        assert_consistent(&f.control);
    }
}

#[test]
fn a_service_that_begins_to_ask_leaves_what_is_connected() {
    let mut f = fixture(LoadBalancerKind::Network, false);
    let request = f.request(&[&f.a]);
    let before = f.consume(request.clone()).unwrap();
    let ask = ModifyVpcEndpointServiceConfiguration {
        service: f.service.clone(),
        acceptance_required: Some(true),
        ..Default::default()
    };
    f.control.execute(ask).unwrap();
    let after = f.consume(request).unwrap();
    assert!(f.row(&before).available && !f.row(&after).available);
    // One that waits can be taken back, and one that was rejected.
    f.reject(&before);
    let delete = DeleteVpcEndpoints {
        vpc_endpoints: vec![before, after],
    };
    assert_eq!(f.consume(delete).unwrap(), []);
    assert_consistent(&f.control);
}

#[test]
fn only_the_provider_decides_and_only_the_consumer_changes_its_endpoint() {
    let mut f = fixture(LoadBalancerKind::Network, true);
    let request = f.request(&[&f.a]);
    let id = f.consume(request).unwrap();
    let accept = AcceptVpcEndpointConnections {
        service: f.service.clone(),
        vpc_endpoints: vec![id.clone()],
    };
    let service = f.service.to_string();
    f.consumer_refused(accept, "InvalidVpcEndpointServiceId.NotFound", &service);
    let change = ModifyVpcEndpoint {
        vpc_endpoint: id.clone(),
        ..ModifyVpcEndpoint::default()
    };
    refused(
        &mut f.control,
        change,
        "InvalidVpcEndpointId.NotFound",
        id.as_str(),
    );
    let delete = DeleteVpcEndpoints {
        vpc_endpoints: vec![id.clone()],
    };
    let refusals = f.control.execute(delete).unwrap();
    assert_eq!(refusals[0].error.code, "InvalidVpcEndpointId.NotFound");
    assert!(f.control.model().get(&id).is_some());
}

/// Whom each principal lets in, and what is no principal.
#[test]
fn principals_are_everybody_or_of_an_account() {
    let allowed = [
        "*",
        "arn:aws:iam::222222222222:root",
        "arn:aws:iam::222222222222:user/anna",
        "arn:aws:iam::222222222222:role/deploy",
        "arn:aws:sts::222222222222:assumed-role/deploy/session",
    ];
    let others = [
        "arn:aws:iam::333333333333:root",
        "arn:aws:iam::333333333333:role/a",
    ];
    let none = [
        "",
        "222222222222",
        "arn:aws:iam::222222222222",
        "arn:aws:iam::22222222222:root",
        "arn:aws:iam::222222222222:group/x",
        "arn:aws:s3:::bucket",
        "arn:gcp:iam::222222222222:root",
        "arn:aws:iam:us-east-1:222222222222:root",
    ];
    let change = |f: &Fixture, add: &str, remove: &str| ModifyVpcEndpointServicePermissions {
        service: f.service.clone(),
        add_allowed_principals: Some(add.to_owned())
            .filter(|it| !it.is_empty())
            .into_iter()
            .collect(),
        remove_allowed_principals: Some(remove.to_owned())
            .filter(|it| !it.is_empty())
            .into_iter()
            .collect(),
    };
    let mut f = fixture(LoadBalancerKind::Network, false);
    let nobody = change(&f, "", allowed[1]);
    f.control.execute(nobody).unwrap();
    for (principal, lets_in) in allowed
        .map(|it| (it, true))
        .into_iter()
        .chain(others.map(|it| (it, false)))
    {
        let add = change(&f, principal, "");
        f.control.execute(add).unwrap();
        let request = f.request(&[&f.a]);
        let made = f.consume(request);
        assert_eq!(made.is_ok(), lets_in, "{principal}");
        let remove = change(&f, "", principal);
        f.control.execute(remove).unwrap();
        if let Ok(id) = made {
            // Taking the permission away does not cut what is connected.
            assert!(f.row(&id).available, "{principal}");
            let delete = DeleteVpcEndpoints {
                vpc_endpoints: vec![id],
            };
            f.consume(delete).unwrap();
        }
        let request = f.request(&[&f.a]);
        let name = f.service_name.clone();
        f.consumer_refused(request, "InvalidServiceName", &name);
    }
    for principal in none {
        let mut add = change(&f, "", "");
        add.add_allowed_principals.push(principal.to_owned());
        refused(&mut f.control, add, "InvalidPrincipal", principal);
    }
    // The provider's own account always may.
    let own = vpc_with(&mut f.control, "10.7.0.0/16");
    let subnet = subnet_in(&mut f.control, &own, "10.7.1.0/24", "us-east-1a");
    let name = f.service_name.clone();
    let kind = VpcEndpointType::Interface;
    let request = CreateVpcEndpoint::new(kind, own, &name, [subnet]);
    f.control.execute(request).unwrap();
}
