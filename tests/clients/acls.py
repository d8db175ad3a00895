"""Network ACLs: entries by number, stateless, and which subnet has which."""

from cloud import check, filters


def two_subnets(cloud):
    vpc = cloud.vpc()
    group = cloud.group(vpc)
    first, second = cloud.subnet(vpc), cloud.subnet(vpc, "10.0.2.0/24")
    return vpc, second, cloud.run(first, group), cloud.run(second, group)


def acl_of(cloud, subnet):
    """The ACL of a subnet and its association."""
    found = cloud.ec2.describe_network_acls(
        Filters=filters(**{"association.subnet_id": subnet}))["NetworkAcls"]
    check(len(found) == 1, found)
    held = [it for it in found[0]["Associations"] if it["SubnetId"] == subnet]
    return found[0], held[0]["NetworkAclAssociationId"]


def entry(number, action, port=None, egress=False):
    more = {"PortRange": {"From": port, "To": port}, "Protocol": "6"} if port else {"Protocol": "-1"}
    return more | {"RuleNumber": number, "RuleAction": action, "Egress": egress,
                   "CidrBlock": "0.0.0.0/0"}


def entries_are_made_replaced_and_deleted(cloud):
    _, second, a, b = two_subnets(cloud)
    acl, _ = acl_of(cloud, second)
    acl = acl["NetworkAclId"]
    a.reaches(b.ip)
    cloud.ec2.create_network_acl_entry(NetworkAclId=acl, **entry(50, "deny", 80))
    a.cannot_reach(b.ip)
    a.reaches(b.ip, 81)
    cloud.refused("NetworkAclEntryAlreadyExists", "create_network_acl_entry",
                  NetworkAclId=acl, **entry(50, "allow", 80))
    cloud.ec2.replace_network_acl_entry(NetworkAclId=acl, **entry(50, "deny", 81))
    a.reaches(b.ip)
    a.cannot_reach(b.ip, 81)
    cloud.ec2.delete_network_acl_entry(NetworkAclId=acl, RuleNumber=50, Egress=False)
    a.reaches(b.ip, 81)
    cloud.refused("InvalidNetworkAclEntry.NotFound", "delete_network_acl_entry",
                  NetworkAclId=acl, RuleNumber=50, Egress=False)
    cloud.refused("InvalidNetworkAclEntry.NotFound", "replace_network_acl_entry",
                  NetworkAclId=acl, **entry(50, "deny", 81))


def answers_need_an_entry_of_their_own(cloud):
    vpc, second, a, b = two_subnets(cloud)
    acl = cloud.ec2.create_network_acl(VpcId=vpc)["NetworkAcl"]["NetworkAclId"]
    cloud.ec2.replace_network_acl_association(
        AssociationId=acl_of(cloud, second)[1], NetworkAclId=acl)
    cloud.ec2.create_network_acl_entry(NetworkAclId=acl, **entry(100, "allow"))
    a.cannot_reach(b.ip)
    answers = entry(40, "allow", 80, egress=True) | {"PortRange": {"From": 1024, "To": 65535}}
    cloud.ec2.create_network_acl_entry(NetworkAclId=acl, **answers)
    a.reaches(b.ip)
    b.cannot_reach(a.ip)


def a_subnet_gets_another_acl(cloud):
    vpc, second, a, b = two_subnets(cloud)
    first_acl, association = acl_of(cloud, second)
    other = cloud.ec2.create_network_acl(VpcId=vpc)["NetworkAcl"]
    numbers = sorted((e["Egress"], e["RuleNumber"], e["RuleAction"]) for e in other["Entries"])
    check(numbers == [(False, 32767, "deny"), (True, 32767, "deny")], numbers)
    a.reaches(b.ip)
    new = cloud.ec2.replace_network_acl_association(
        AssociationId=association, NetworkAclId=other["NetworkAclId"])["NewAssociationId"]
    check(new != association, new)
    a.cannot_reach(b.ip)
    cloud.refused("DependencyViolation", "delete_network_acl", NetworkAclId=other["NetworkAclId"])
    for egress in (False, True):
        cloud.ec2.create_network_acl_entry(
            NetworkAclId=other["NetworkAclId"], **entry(100, "allow", egress=egress))
    a.reaches(b.ip)
    cloud.ec2.delete_network_acl_entry(
        NetworkAclId=other["NetworkAclId"], RuleNumber=100, Egress=False)
    a.cannot_reach(b.ip)
    cloud.ec2.replace_network_acl_association(
        AssociationId=new, NetworkAclId=first_acl["NetworkAclId"])
    a.reaches(b.ip)
    cloud.ec2.delete_network_acl(NetworkAclId=other["NetworkAclId"])
    cloud.refused("InvalidNetworkAclID.NotFound", "describe_network_acls",
                  NetworkAclIds=[other["NetworkAclId"]])


CHECKS = [entries_are_made_replaced_and_deleted, answers_need_an_entry_of_their_own,
          a_subnet_gets_another_acl]
