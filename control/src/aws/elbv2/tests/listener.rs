//! Listeners and attributes.

use super::*;

#[test]
fn a_listener_is_made_described_changed_and_deleted() {
    let f = Fixture::new();
    let balancer = f.balancer("lb");
    let one = f.target_group("one", "Protocol=TCP&Port=80");
    let two = f.target_group("two", "Protocol=TCP_UDP&Port=53");
    let listener = f.listener(&balancer, &one, "&Protocol=TCP&Port=80");
    let changed = f.elb(&format!(
        "Action=ModifyListener&ListenerArn={listener}&Port=53&Protocol=UDP\
         &DefaultActions.member.1.Type=forward\
         &DefaultActions.member.1.ForwardConfig.TargetGroups.member.1.TargetGroupArn={two}\
         &DefaultActions.member.1.ForwardConfig.TargetGroups.member.1.Weight=1"
    ));
    assert_eq!(text(&changed, "Port"), "53");
    assert_eq!(text(&changed, "Protocol"), "UDP");
    assert_eq!(text(&changed, "TargetGroupArn"), two);
    let all = f.elb(&format!(
        "Action=DescribeListeners&LoadBalancerArn={balancer}"
    ));
    assert_eq!(texts(&all, "ListenerArn"), [&*listener]);
    let gateway = f.gateway("g");
    let geneve = f.target_group("geneve", "Protocol=GENEVE&Port=6081");
    let second = f.listener(&gateway, &geneve, "");
    let shown = f.elb(&format!(
        "Action=DescribeListeners&ListenerArns.member.1={second}"
    ));
    assert!(
        !shown.contains("<Port>") && !shown.contains("<Protocol>"),
        "{shown}"
    );

    let create = |rest: &str| format!("Action=CreateListener&LoadBalancerArn={balancer}&{rest}");
    let to = |group: &str| {
        format!(
            "DefaultActions.member.1.Type=forward&DefaultActions.member.1.TargetGroupArn={group}"
        )
    };
    for (form, code, named) in [
        (
            create(&format!("Protocol=TCP_UDP&Port=53&{}", to(&two))),
            "DuplicateListener",
            "53",
        ),
        (
            create(&format!("Protocol=TLS&Port=443&{}", to(&one))),
            "UnsupportedOperation",
            "TLS",
        ),
        (
            create(&format!("Protocol=UDP&Port=443&{}", to(&one))),
            "IncompatibleProtocols",
            "UDP",
        ),
        (
            create(&format!("Port=443&{}", to(&one))),
            "ValidationError",
            "protocol",
        ),
        (
            create(&format!("Protocol=TCP&Port=443&{}", to(&geneve))),
            "IncompatibleProtocols",
            "GENEVE",
        ),
        (
            create("Protocol=TCP&Port=443&DefaultActions.member.1.Type=redirect"),
            "InvalidLoadBalancerAction",
            "redirect",
        ),
        (
            create(&format!(
                "Protocol=TCP&Port=443&{}&DefaultActions.member.1.ForwardConfig.TargetGroups.member.1.TargetGroupArn={two}",
                to(&one)
            )),
            "UnsupportedOperation",
            "Weighted",
        ),
        (
            create(&format!("Protocol=TCP&Port=443&SslPolicy=x&{}", to(&one))),
            "UnsupportedOperation",
            "SslPolicy",
        ),
        (
            "Action=DescribeListeners".into(),
            "ValidationError",
            "load balancer ARN",
        ),
        (
            format!("Action=DeleteListener&ListenerArn={ABSENT}:listener/net/a/1/2"),
            "ListenerNotFound",
            "net/a/1/2",
        ),
    ] {
        f.refused(&form, code, named);
    }
    let delete = format!("Action=DeleteListener&ListenerArn={listener}");
    f.elb(&delete);
    f.refused(&delete, "ListenerNotFound", &listener);
}

#[test]
fn attributes_are_acted_on_kept_or_refused() {
    let f = Fixture::new();
    let balancer = f.balancer("lb");
    let set = |what: &str, arn: &str, pairs: &[(&str, &str)]| {
        let mut form = format!("Action=Modify{what}Attributes&{what}Arn={arn}");
        for (index, (key, value)) in pairs.iter().enumerate() {
            let at = format!("Attributes.member.{}", index + 1);
            form += &format!("&{at}.Key={key}&{at}.Value={value}");
        }
        form
    };
    let shown = f.elb(&set(
        "LoadBalancer",
        &balancer,
        &[
            ("load_balancing.cross_zone.enabled", "true"),
            ("deletion_protection.enabled", "true"),
            ("access_logs.s3.bucket", "b"),
        ],
    ));
    assert_eq!(attribute(&shown, "access_logs.s3.bucket").unwrap(), "b");
    let shown = f.elb(&format!(
        "Action=DescribeLoadBalancerAttributes&LoadBalancerArn={balancer}"
    ));
    for (key, value) in [
        ("load_balancing.cross_zone.enabled", "true"),
        ("deletion_protection.enabled", "true"),
        ("access_logs.s3.bucket", "b"),
        ("access_logs.s3.enabled", "false"),
    ] {
        assert_eq!(attribute(&shown, key).as_deref(), Some(value), "{shown}");
    }
    let delete = format!("Action=DeleteLoadBalancer&LoadBalancerArn={balancer}");
    f.refused(&delete, "OperationNotPermitted", "deletion protection");
    f.elb(&set(
        "LoadBalancer",
        &balancer,
        &[("deletion_protection.enabled", "false")],
    ));

    let group = f.target_group("web", "Protocol=TCP&Port=80");
    let shown = f.elb(&set(
        "TargetGroup",
        &group,
        &[
            ("deregistration_delay.timeout_seconds", "0"),
            ("proxy_protocol_v2.enabled", "true"),
        ],
    ));
    assert_eq!(
        attribute(&shown, "proxy_protocol_v2.enabled").unwrap(),
        "true"
    );
    assert_eq!(
        attribute(&shown, "deregistration_delay.timeout_seconds").unwrap(),
        "0"
    );
    // Instances: on, unless it is switched off. Addresses: off for TCP, else on for good.
    let on = |shown: &str| attribute(shown, "preserve_client_ip.enabled").unwrap();
    assert_eq!(on(&shown), "true");
    let off = [("preserve_client_ip.enabled", "false")];
    assert_eq!(on(&f.elb(&set("TargetGroup", &group, &off))), "false");
    for (protocol, expected) in [("TCP", "false"), ("UDP", "true"), ("TCP_UDP", "true")] {
        let parameters = format!("Protocol={protocol}&Port=80&TargetType=ip");
        let name = protocol.replace('_', "-");
        let group = f.target_group(&name, &parameters);
        let shown = f.elb(&format!(
            "Action=DescribeTargetGroupAttributes&TargetGroupArn={group}"
        ));
        assert_eq!(on(&shown), expected, "{protocol}");
        if expected == "true" {
            f.refused(
                &set("TargetGroup", &group, &off),
                "ValidationError",
                "cannot be disabled",
            );
        }
    }
    // Nodes get further addresses, and keep them.
    let further = |n: &str| {
        set(
            "LoadBalancer",
            &balancer,
            &[("secondary_ips.auto_assigned.per_subnet", n)],
        )
    };
    let shown = f.elb(&further("2"));
    let held = attribute(&shown, "secondary_ips.auto_assigned.per_subnet");
    assert_eq!(held.as_deref(), Some("2"));
    f.refused(&further("1"), "InvalidConfigurationRequest", "decreased");
    f.refused(&further("8"), "ValidationError", "between 0 and 7");
    let geneve = f.target_group("geneve", "Protocol=GENEVE&Port=6081");
    let shown = f.elb(&set(
        "TargetGroup",
        &geneve,
        &[
            ("stickiness.enabled", "true"),
            ("stickiness.type", "source_ip_dest_ip"),
            ("target_failover.on_unhealthy", "rebalance"),
            ("target_failover.on_deregistration", "rebalance"),
        ],
    ));
    assert_eq!(
        attribute(&shown, "stickiness.type").unwrap(),
        "source_ip_dest_ip"
    );
    let shown = f.elb(&set(
        "TargetGroup",
        &geneve,
        &[("stickiness.enabled", "false")],
    ));
    assert_eq!(attribute(&shown, "stickiness.enabled").unwrap(), "false");
    assert_eq!(
        attribute(&shown, "target_failover.on_unhealthy").unwrap(),
        "rebalance"
    );

    let listener = f.listener(&balancer, &group, "&Protocol=TCP&Port=80");
    let shown = f.elb(&set(
        "Listener",
        &listener,
        &[("tcp.idle_timeout.seconds", "60")],
    ));
    assert_eq!(attribute(&shown, "tcp.idle_timeout.seconds").unwrap(), "60");

    for (what, arn, key, value, code) in [
        (
            "LoadBalancer",
            &balancer,
            "idle_timeout.timeout_seconds",
            "9",
            "ValidationError",
        ),
        (
            "LoadBalancer",
            &balancer,
            "deletion_protection.enabled",
            "yes",
            "ValidationError",
        ),
        (
            "LoadBalancer",
            &balancer,
            "access_logs.s3.enabled",
            "yes",
            "ValidationError",
        ),
        (
            "TargetGroup",
            &group,
            "proxy_protocol_v2.enabled",
            "on",
            "ValidationError",
        ),
        (
            "TargetGroup",
            &geneve,
            "proxy_protocol_v2.enabled",
            "true",
            "ValidationError",
        ),
        (
            "TargetGroup",
            &geneve,
            "preserve_client_ip.enabled",
            "true",
            "ValidationError",
        ),
        (
            "TargetGroup",
            &group,
            "deregistration_delay.timeout_seconds",
            "3601",
            "ValidationError",
        ),
        (
            "TargetGroup",
            &group,
            "target_failover.on_unhealthy",
            "rebalance",
            "ValidationError",
        ),
        (
            "TargetGroup",
            &geneve,
            "target_failover.on_unhealthy",
            "no_rebalance",
            "ValidationError",
        ),
        (
            "Listener",
            &listener,
            "tcp.idle_timeout.seconds",
            "59",
            "ValidationError",
        ),
        (
            "Listener",
            &listener,
            "routing.http",
            "x",
            "ValidationError",
        ),
    ] {
        f.refused(
            &set(what, arn, &[(key, value)]),
            code,
            key.split('.').next().unwrap(),
        );
    }
}

#[test]
fn tags_and_limits() {
    let f = Fixture::new();
    let balancer = f.balancer("lb");
    let group = f.target_group(
        "web",
        "Protocol=TCP&Port=80&Tags.member.1.Key=a&Tags.member.1.Value=1",
    );
    f.elb(&format!(
        "Action=AddTags&ResourceArns.member.1={balancer}&ResourceArns.member.2={group}\
         &Tags.member.1.Key=Name&Tags.member.1.Value=x"
    ));
    f.elb(&format!(
        "Action=RemoveTags&ResourceArns.member.1={group}&TagKeys.member.1=a&TagKeys.member.2=none"
    ));
    let tags = f.elb(&format!(
        "Action=DescribeTags&ResourceArns.member.1={balancer}&ResourceArns.member.2={group}"
    ));
    assert_eq!(texts(&tags, "Key"), ["Name", "Name"], "{tags}");
    for (form, code) in [
        (
            "Action=DescribeTags&ResourceArns.member.1=vpc-00000000",
            "ValidationError",
        ),
        (
            &*format!("Action=DescribeTags&ResourceArns.member.1={ABSENT}:targetgroup/x/1"),
            "TargetGroupNotFound",
        ),
        (
            &*format!("Action=AddTags&ResourceArns.member.1={balancer}&Tags.member.1.Key=aws:x"),
            "ValidationError",
        ),
    ] {
        f.refused(form, code, "");
    }
    let limits = f.elb("Action=DescribeAccountLimits");
    assert!(limits.contains("<Name>target-groups</Name>"), "{limits}");
    let capacity = f.elb(&format!(
        "Action=DescribeCapacityReservation&LoadBalancerArn={balancer}"
    ));
    assert!(texts(&capacity, "State").is_empty());
}
