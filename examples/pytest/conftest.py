pytest_plugins = ["vpclab_pytest"]
