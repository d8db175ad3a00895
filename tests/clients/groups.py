"""Security groups: what is allowed passes, what is revoked does not."""

from cloud import ANYTHING, check, filters, tcp


def pair(cloud, allow=False):
    """Two hosts of a subnet; the second's group is for the check to change."""
    vpc = cloud.vpc()
    subnet = cloud.subnet(vpc)
    group = cloud.group(vpc, "server", allow)
    a = cloud.run(subnet, cloud.group(vpc))
    return vpc, group, a, cloud.run(subnet, group)


def ingress_is_allowed_and_revoked(cloud):
    _, group, a, b = pair(cloud)
    a.cannot_reach(b.ip)
    made = cloud.ec2.authorize_security_group_ingress(
        GroupId=group, IpPermissions=[tcp(80, f"{a.ip}/32")])
    rule = made["SecurityGroupRules"][0]
    check(rule["GroupId"] == group and rule["CidrIpv4"] == f"{a.ip}/32" and not rule["IsEgress"]
          and (rule["FromPort"], rule["ToPort"]) == (80, 80), rule)
    check(a.reaches(b.ip) == a.ip, "the server sees another source")
    a.cannot_reach(b.ip, 81)
    cloud.refused("InvalidPermission.Duplicate", "authorize_security_group_ingress",
                  GroupId=group, IpPermissions=[tcp(80, f"{a.ip}/32")])
    cloud.ec2.revoke_security_group_ingress(GroupId=group, IpPermissions=[tcp(80, f"{a.ip}/32")])
    a.cannot_reach(b.ip)
    cloud.refused("InvalidPermission.NotFound", "revoke_security_group_ingress",
                  GroupId=group, IpPermissions=[tcp(80, f"{a.ip}/32")])


def a_rule_is_revoked_by_its_id(cloud):
    _, group, a, b = pair(cloud)
    made = cloud.ec2.authorize_security_group_ingress(
        GroupId=group, IpProtocol="tcp", FromPort=80, ToPort=81, CidrIp="10.0.0.0/16",
        TagSpecifications=[{"ResourceType": "security-group-rule",
                            "Tags": [{"Key": "why", "Value": "test"}]}])
    rule = made["SecurityGroupRules"][0]
    check(rule["Tags"] == [{"Key": "why", "Value": "test"}], rule)
    a.reaches(b.ip, 81)
    cloud.ec2.revoke_security_group_ingress(
        GroupId=group, SecurityGroupRuleIds=[rule["SecurityGroupRuleId"]])
    a.cannot_reach(b.ip, 81)
    cloud.refused("InvalidSecurityGroupRuleId.NotFound", "describe_security_group_rules",
                  SecurityGroupRuleIds=[rule["SecurityGroupRuleId"]])


def egress_is_revoked_and_allowed(cloud):
    _, group, a, b = pair(cloud)
    b.reaches(a.ip)
    cloud.ec2.revoke_security_group_egress(GroupId=group, IpPermissions=[ANYTHING])
    b.cannot_reach(a.ip)
    cloud.refused("InvalidPermission.NotFound", "revoke_security_group_egress",
                  GroupId=group, IpPermissions=[ANYTHING])
    cloud.ec2.authorize_security_group_egress(GroupId=group, IpPermissions=[tcp(80)])
    b.reaches(a.ip)
    b.cannot_reach(a.ip, 81)
    cloud.refused("InvalidPermission.Duplicate", "authorize_security_group_egress",
                  GroupId=group, IpPermissions=[tcp(80)])


def a_rule_is_modified(cloud):
    _, group, a, b = pair(cloud)
    made = cloud.ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[tcp(80)])
    rule = made["SecurityGroupRules"][0]["SecurityGroupRuleId"]
    a.reaches(b.ip)
    a.cannot_reach(b.ip, 81)
    cloud.ec2.modify_security_group_rules(GroupId=group, SecurityGroupRules=[{
        "SecurityGroupRuleId": rule, "SecurityGroupRule": {
            "IpProtocol": "tcp", "FromPort": 81, "ToPort": 81, "CidrIpv4": "10.0.0.0/8"}}])
    a.cannot_reach(b.ip)
    a.reaches(b.ip, 81)
    found = cloud.ec2.describe_security_group_rules(SecurityGroupRuleIds=[rule])
    check(found["SecurityGroupRules"][0]["CidrIpv4"] == "10.0.0.0/8", found)


def a_group_as_the_peer_means_its_members(cloud):
    vpc, group, a, b = pair(cloud)
    clients = cloud.group(vpc, "clients")
    cloud.ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[{
        "IpProtocol": "tcp", "FromPort": 80, "ToPort": 80,
        "UserIdGroupPairs": [{"GroupId": clients}]}])
    a.cannot_reach(b.ip)
    before = cloud.ec2.describe_network_interfaces(NetworkInterfaceIds=[a.eni])
    before = [g["GroupId"] for g in before["NetworkInterfaces"][0]["Groups"]]
    cloud.ec2.modify_network_interface_attribute(
        NetworkInterfaceId=a.eni, Groups=[*before, clients])
    a.reaches(b.ip)
    cloud.refused("DependencyViolation", "delete_security_group", GroupId=clients)
    cloud.ec2.modify_network_interface_attribute(NetworkInterfaceId=a.eni, Groups=before)
    a.cannot_reach(b.ip)


def a_prefix_list_in_a_rule_follows_its_entries(cloud):
    _, group, a, b = pair(cloud)
    made = cloud.ec2.create_managed_prefix_list(
        PrefixListName="clients", MaxEntries=5, AddressFamily="IPv4",
        Entries=[{"Cidr": "192.0.2.0/24", "Description": "nobody"}])["PrefixList"]
    name = made["PrefixListId"]
    cloud.ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[{
        "IpProtocol": "tcp", "FromPort": 80, "ToPort": 80,
        "PrefixListIds": [{"PrefixListId": name}]}])
    a.cannot_reach(b.ip)
    cloud.ec2.modify_managed_prefix_list(
        PrefixListId=name, CurrentVersion=made["Version"], AddEntries=[{"Cidr": f"{a.ip}/32"}])
    a.reaches(b.ip)
    cloud.refused("PrefixListVersionMismatch", "modify_managed_prefix_list", PrefixListId=name,
                  CurrentVersion=made["Version"], AddEntries=[{"Cidr": "10.9.0.0/16"}])
    found = cloud.ec2.get_managed_prefix_list_entries(PrefixListId=name)["Entries"]
    check({e["Cidr"] for e in found} == {"192.0.2.0/24", f"{a.ip}/32"}, found)
    users = cloud.ec2.get_managed_prefix_list_associations(PrefixListId=name)
    users = [it["ResourceId"] for it in users["PrefixListAssociations"]]
    check(users == [group], users)
    cloud.ec2.modify_managed_prefix_list(
        PrefixListId=name, CurrentVersion=made["Version"] + 1,
        RemoveEntries=[{"Cidr": f"{a.ip}/32"}])
    a.cannot_reach(b.ip)


def descriptions_change_no_packet(cloud):
    _, group, a, b = pair(cloud)
    cloud.ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[tcp(80)])
    for way, allowed in (("ingress", tcp(80)), ("egress", dict(ANYTHING))):
        allowed = allowed | {"IpRanges": [{"CidrIp": "0.0.0.0/0", "Description": f"new {way}"}]}
        update = getattr(cloud.ec2, f"update_security_group_rule_descriptions_{way}")
        update(GroupId=group, IpPermissions=[allowed])
    found = cloud.ec2.describe_security_group_rules(Filters=filters(group_id=group))
    found = sorted(rule["Description"] for rule in found["SecurityGroupRules"])
    check(found == ["new egress", "new ingress"], found)
    a.reaches(b.ip)


def icmp_has_types(cloud):
    _, group, a, b = pair(cloud)
    check(not a.pings(b.ip), "a ping passes a closed group")
    cloud.ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[{
        "IpProtocol": "icmp", "FromPort": 8, "ToPort": -1, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}])
    check(a.pings(b.ip), "no ping passes though echo requests are allowed")
    a.cannot_reach(b.ip)


CHECKS = [ingress_is_allowed_and_revoked, a_rule_is_revoked_by_its_id,
          egress_is_revoked_and_allowed, a_rule_is_modified,
          a_group_as_the_peer_means_its_members, a_prefix_list_in_a_rule_follows_its_entries,
          descriptions_change_no_packet, icmp_has_types]
