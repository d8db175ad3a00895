//! Target groups and their targets.

use super::*;

#[test]
fn a_target_group_is_made_described_changed_and_deleted() {
    let f = Fixture::new();
    let group = f.target_group(
        "web",
        "Protocol=TCP&Port=8080&TargetType=ip&HealthCheckProtocol=HTTP&HealthCheckPath=/ok\
         &HealthCheckPort=9000&HealthCheckIntervalSeconds=10&Matcher.HttpCode=200-299",
    );
    let described = f.elb("Action=DescribeTargetGroups&Names.member.1=web");
    for part in [
        "<Port>8080</Port>",
        "<TargetType>ip</TargetType>",
        "<IpAddressType>ipv4</IpAddressType>",
        "<HealthCheckPath>/ok</HealthCheckPath>",
        "<HealthCheckPort>9000</HealthCheckPort>",
        "<HealthCheckEnabled>true</HealthCheckEnabled>",
        "<Matcher><HttpCode>200-299</HttpCode></Matcher>",
        "<HealthCheckIntervalSeconds>10</HealthCheckIntervalSeconds>",
        "<UnhealthyThresholdCount>2</UnhealthyThresholdCount>",
    ] {
        assert!(described.contains(part), "{part} in {described}");
    }
    let changed = f.elb(&format!(
        "Action=ModifyTargetGroup&TargetGroupArn={group}&HealthCheckPort=traffic-port\
         &UnhealthyThresholdCount=3"
    ));
    assert_eq!(text(&changed, "HealthCheckPort"), "traffic-port");
    assert_eq!(text(&changed, "UnhealthyThresholdCount"), "3");
    assert_eq!(text(&changed, "HealthCheckPath"), "/ok");

    let balancer = f.balancer("lb");
    let of_balancer = format!("Action=DescribeTargetGroups&LoadBalancerArn={balancer}");
    assert!(texts(&f.elb(&of_balancer), "TargetGroupArn").is_empty());
    let listener = f.listener(&balancer, &group, "&Protocol=TCP&Port=80");
    assert_eq!(texts(&f.elb(&of_balancer), "TargetGroupArn"), [&*group]);
    let delete = format!("Action=DeleteTargetGroup&TargetGroupArn={group}");
    f.refused(&delete, "ResourceInUse", &listener);
    f.elb(&format!("Action=DeleteListener&ListenerArn={listener}"));
    f.elb(&delete);
    f.refused(
        &format!("Action=DescribeTargetGroups&TargetGroupArns.member.1={group}"),
        "TargetGroupNotFound",
        &group,
    );
}

#[test]
fn target_groups_that_cannot_be_are_refused() {
    let f = Fixture::new();
    for (rest, code, named) in [
        ("Protocol=HTTP&Port=80", "UnsupportedOperation", "HTTP"),
        ("Protocol=ICMP&Port=80", "ValidationError", "ICMP"),
        ("Port=80", "ValidationError", "protocol"),
        ("Protocol=TCP", "ValidationError", "port"),
        (
            "Protocol=TCP&Port=80&TargetType=lambda",
            "UnsupportedOperation",
            "lambda",
        ),
        (
            "Protocol=TCP&Port=80&TargetType=x",
            "ValidationError",
            "'x'",
        ),
        ("Protocol=GENEVE&Port=80", "ValidationError", "6081"),
        (
            "Protocol=TCP&Port=80&HealthCheckProtocol=HTTPS",
            "UnsupportedOperation",
            "HTTPS",
        ),
        (
            "Protocol=TCP&Port=80&HealthCheckPort=door",
            "ValidationError",
            "door",
        ),
        (
            "Protocol=TCP&Port=80&HealthCheckEnabled=false",
            "ValidationError",
            "enabled",
        ),
        (
            "Protocol=TCP&Port=80&HealthCheckIntervalSeconds=1",
            "ValidationError",
            "'1'",
        ),
        (
            "Protocol=TCP&Port=80&IpAddressType=ipv6",
            "UnsupportedOperation",
            "IPv4",
        ),
        (
            "Protocol=TCP&Port=80&ProtocolVersion=GRPC",
            "UnsupportedOperation",
            "ProtocolVersion",
        ),
    ] {
        let form = format!("Action=CreateTargetGroup&Name=n&VpcId={}&{rest}", f.vpc);
        f.refused(&form, code, named);
    }
    f.refused(
        "Action=CreateTargetGroup&Name=n&Protocol=TCP&Port=80&VpcId=vpc-00000000",
        "ValidationError",
        "vpc-00000000",
    );
}

#[test]
fn targets_are_registered_and_their_health_is_told_as_aws_tells_it() {
    let f = Fixture::new();
    let group = f.target_group("hosts", "Protocol=TCP&Port=80");
    let [first, second] = &f.instances;
    f.elb(&format!(
        "Action=RegisterTargets&TargetGroupArn={group}&Targets.member.1.Id={first}\
         &Targets.member.2.Id={second}&Targets.member.2.Port=81"
    ));
    let describe = format!("Action=DescribeTargetHealth&TargetGroupArn={group}");
    let health = f.elb(&describe);
    assert_eq!(texts(&health, "Id"), [&**first, &**second]);
    assert_eq!(texts(&health, "HealthCheckPort"), ["80", "81"]);
    assert_eq!(texts(&health, "State"), ["unused", "unused"]);
    assert_eq!(text(&health, "Reason"), "Target.NotInUse");

    // In use, what is registered now waits for its first checks.
    let balancer = f.balancer("lb");
    f.listener(&balancer, &group, "&Protocol=TCP&Port=80");
    f.elb(&format!(
        "Action=RegisterTargets&TargetGroupArn={group}&Targets.member.1.Id={first}\
         &Targets.member.1.Port=82"
    ));
    let asked = f.elb(&format!(
        "{describe}&Targets.member.1.Id={first}&Targets.member.1.Port=82\
         &Targets.member.2.Id=i-0000000000000dead"
    ));
    assert_eq!(texts(&asked, "State"), ["initial", "unused"]);
    assert_eq!(
        texts(&asked, "Reason"),
        ["Elb.InitialHealthChecking", "Target.NotRegistered"]
    );
    f.elb(&format!(
        "Action=DeregisterTargets&TargetGroupArn={group}&Targets.member.1.Id={first}\
         &Targets.member.1.Port=82"
    ));
    let draining = f.elb(&format!("{describe}&Targets.member.1.Id={first}"));
    assert_eq!(texts(&draining, "State"), ["unused", "draining"]);
    assert!(
        draining.contains("<Reason>Target.DeregistrationInProgress<"),
        "{draining}"
    );

    f.client
        .ec2(&format!("Action=StopInstances&InstanceId.1={second}"));
    let stopped = f.elb(&format!("{describe}&Targets.member.1.Id={second}"));
    assert_eq!(text(&stopped, "Reason"), "Target.InvalidState");
    let again = format!(
        "Action=RegisterTargets&TargetGroupArn={group}&Targets.member.1.Id={second}\
         &Targets.member.1.Port=99"
    );
    f.refused(&again, "InvalidTarget", second);
    // An instance that ends is deregistered.
    f.client
        .ec2(&format!("Action=TerminateInstances&InstanceId.1={first}"));
    assert_eq!(texts(&f.elb(&describe), "Id"), [&**second]);
}

#[test]
fn targets_that_cannot_be_are_refused() {
    let f = Fixture::new();
    let hosts = f.target_group("hosts", "Protocol=TCP&Port=80");
    let v4 = f.target_group("v4", "Protocol=TCP&Port=80&TargetType=ip");
    let v6 = f.target_group(
        "v6",
        "Protocol=TCP&Port=80&TargetType=ip&IpAddressType=ipv6",
    );
    f.elb(&format!(
        "Action=RegisterTargets&TargetGroupArn={v4}&Targets.member.1.Id=10.0.1.9\
         &Targets.member.1.AvailabilityZone=us-east-1a"
    ));
    let health = f.elb(&format!("Action=DescribeTargetHealth&TargetGroupArn={v4}"));
    assert_eq!(text(&health, "AvailabilityZone"), "us-east-1a");
    for (group, target, named) in [
        (&hosts, "Targets.member.1.Id=i-0000000000000dead", "dead"),
        (&hosts, "Targets.member.1.Id=10.0.1.9", "10.0.1.9"),
        (&v4, "Targets.member.1.Id=10.1.0.1", "10.1.0.1"),
        (&v4, "Targets.member.1.Id=fd00::1", "IPv4"),
        (&v6, "Targets.member.1.Id=10.0.1.9", "IPv6"),
        (
            &v4,
            "Targets.member.1.Id=10.0.1.9&Targets.member.1.AvailabilityZone=us-east-1b",
            "us-east-1b",
        ),
    ] {
        let form = format!("Action=RegisterTargets&TargetGroupArn={group}&{target}");
        f.refused(&form, "InvalidTarget", named);
    }
    f.refused(
        &format!(
            "Action=RegisterTargets&TargetGroupArn={ABSENT}:targetgroup/x/1&Targets.member.1.Id=a"
        ),
        "TargetGroupNotFound",
        "targetgroup/x/1",
    );
}
