"""Reachability Analyzer: it says what packets then do."""

from cloud import check, filters, tcp


def analysis(cloud, path):
    found = cloud.ec2.start_network_insights_analysis(NetworkInsightsPathId=path)
    return found["NetworkInsightsAnalysis"]


def what_it_says_is_so(cloud):
    ec2 = cloud.ec2
    vpc = cloud.vpc()
    subnet, closed = cloud.subnet(vpc), cloud.group(vpc, "closed", allow=False)
    one, two = cloud.run(subnet, closed), cloud.run(subnet, closed)
    made = ec2.create_network_insights_path(
        Source=one.name, Destination=two.eni, Protocol="tcp", DestinationPort=80)
    path = made["NetworkInsightsPath"]["NetworkInsightsPathId"]
    before = analysis(cloud, path)
    check(before["NetworkPathFound"] is False, f"{before}")
    why = before["Explanations"][0]
    check(why["ExplanationCode"] == "ENI_SG_RULES_MISMATCH" and why["Component"]["Id"] == two.eni
          and why["Direction"] == "ingress", f"{why}")
    one.cannot_reach(two.ip)
    ec2.authorize_security_group_ingress(GroupId=closed, IpPermissions=[tcp(80)])
    after = analysis(cloud, path)
    check(after["NetworkPathFound"] is True and not after["Explanations"], f"{after}")
    passed = [step["Component"]["Id"] for step in after["ForwardPathComponents"]]
    check(passed[0] == one.eni and passed[-1] == two.eni, f"{passed}")
    check(after["ReturnPathComponents"], "there is no way back")
    one.reaches(two.ip)

    found = ec2.describe_network_insights_analyses(Filters=filters(path_found="true"))
    check([it["NetworkInsightsAnalysisId"] for it in found["NetworkInsightsAnalyses"]]
          == [after["NetworkInsightsAnalysisId"]], f"{found}")
    found = ec2.describe_network_insights_paths(Filters=filters(source=one.name))
    check(len(found["NetworkInsightsPaths"]) == 1, f"{found}")

    cloud.refused("AnalysisExistsForNetworkInsightsPath", "delete_network_insights_path",
                  NetworkInsightsPathId=path)
    for it in (before, after):
        ec2.delete_network_insights_analysis(
            NetworkInsightsAnalysisId=it["NetworkInsightsAnalysisId"])
    ec2.delete_network_insights_path(NetworkInsightsPathId=path)

    gone, none = "InvalidNetworkInsightsPathId.NotFound", "InvalidNetworkInsightsAnalysisId.NotFound"
    cloud.refused(gone, "start_network_insights_analysis", NetworkInsightsPathId=path)
    cloud.refused(gone, "describe_network_insights_paths", NetworkInsightsPathIds=[path])
    old = after["NetworkInsightsAnalysisId"]
    cloud.refused(none, "delete_network_insights_analysis", NetworkInsightsAnalysisId=old)
    cloud.refused(none, "describe_network_insights_analyses", NetworkInsightsAnalysisIds=[old])
    cloud.refused("InvalidParameterValue", "create_network_insights_path", Source=vpc,
                  Destination=two.eni, Protocol="tcp")


CHECKS = [what_it_says_is_so]
