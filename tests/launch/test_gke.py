"""launch/gke.sh and gke.yaml: a manifest that Kubernetes takes, and what it does by exit code."""

import re

import kubernetes_validate
import launchers
import pytest
import yaml

# kubernetes-validate carries the schemas of Kubernetes itself and is made anew with each release of
# it, so it works offline. It knows no operators: a JobSet is validated as the jobs that it makes,
# and the few fields around them by the laws below. One version of some years ago, and the newest.
VERSIONS = ("1.31", kubernetes_validate.latest_version())
# Fields of the JobSet v1alpha2 that the manifest may use.
SPEC = {"network", "failurePolicy", "replicatedJobs"}
FAILURE_POLICY = {"maxRestarts", "restartStrategy", "rules"}
RULE = {"name", "action", "onJobFailureReasons", "onJobFailureMessagePatterns"}
ACTIONS = {"FailJobSet", "RestartJobSet", "RestartJobSetAndIgnoreMaxRestarts"}


def manifest(*flags, arguments=launchers.TRAIN):
    """What `gke.sh --print` prints, read as YAML."""
    done = launchers.launch("gke.sh", "--print", *launchers.GKE, *flags, *arguments)
    assert done.returncode == 0, done.stderr
    return yaml.safe_load(done.stdout)


def job_of(filled):
    """The one job of the JobSet as a job of Kubernetes."""
    (replicated,) = filled["spec"]["replicatedJobs"]
    assert set(replicated) == {"name", "replicas", "template"}
    assert set(replicated["template"]) == {"spec"}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": f"{filled['metadata']['name']}-{replicated['name']}-0"},
        "spec": replicated["template"]["spec"],
    }


def container_of(filled):
    (container,) = job_of(filled)["spec"]["template"]["spec"]["containers"]
    return container


@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_takes_the_job(version):
    kubernetes_validate.validate(job_of(manifest()), version, strict=True)


def test_the_check_finds_a_misspelt_field():
    job = job_of(manifest())
    job["spec"]["podFailurePolicies"] = job["spec"].pop("podFailurePolicy")
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(job, VERSIONS[-1], strict=True)


def test_the_fields_are_those_of_a_job_set():
    filled = manifest()
    assert set(filled) == {"apiVersion", "kind", "metadata", "spec"}
    assert (filled["apiVersion"], filled["kind"]) == ("jobset.x-k8s.io/v1alpha2", "JobSet")
    assert set(filled["spec"]) == SPEC
    policy = filled["spec"]["failurePolicy"]
    assert set(policy) == FAILURE_POLICY
    assert policy["restartStrategy"] == "BlockingRecreate"
    for rule in policy["rules"]:
        assert set(rule) <= RULE
        assert rule["action"] in ACTIONS
        assert re.fullmatch(r"[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?", rule["name"])


@pytest.mark.parametrize(
    ("code", "is_disrupted", "expected"),
    [
        (2, False, "FailJobSet"),
        (3, False, "RestartJobSetAndIgnoreMaxRestarts"),
        (137, True, "RestartJobSetAndIgnoreMaxRestarts"),
        (1, False, "RestartJobSet"),
        (137, False, "RestartJobSet"),
    ],
)
def test_what_follows_an_exit_code(code, is_disrupted, expected):
    """The two policies, followed as the two controllers document theirs."""
    filled = manifest()
    job = job_of(filled)["spec"]
    # A pod that was replaced in its job would wait for the others, who have ended.
    assert (job["backoffLimit"], job["template"]["spec"]["restartPolicy"]) == (0, "Never")
    reason, message = "BackoffLimitExceeded", "Job has reached the specified backoff limit"
    for index, rule in enumerate(job["podFailurePolicy"]["rules"]):
        assert rule["action"] == "FailJob"
        codes, conditions = rule.get("onExitCodes"), rule.get("onPodConditions")
        if codes is not None:
            assert (codes["containerName"], codes["operator"]) == ("resgen", "In")
            matches = code in codes["values"]
        else:
            assert conditions == [{"type": "DisruptionTarget", "status": "True"}]
            matches = is_disrupted
        if matches:
            reason = "PodFailurePolicy"
            message = (
                f"Container resgen for pod default/run-slice-0-0 failed with exit code {code} "
                f"matching FailJob rule at index {index}"
            )
            break

    action = "RestartJobSet"  # of a JobSet, where no rule matches
    for rule in filled["spec"]["failurePolicy"]["rules"]:
        patterns = rule.get("onJobFailureMessagePatterns", [""])
        is_named = any(re.search(pattern, message) for pattern in patterns)
        if reason in rule["onJobFailureReasons"] and is_named:
            action = rule["action"]
            break
    assert action == expected


@pytest.mark.parametrize(
    ("flags", "hosts", "chips", "slices"),
    [
        ([], 64, 4, 1),
        (["--topology=4x4x8"], 32, 4, 1),
        (["--topology=2x4", "--chips_per_host=8"], 1, 8, 1),
        (["--topology=4x4", "--slices=3"], 4, 4, 3),
    ],
)
def test_a_process_for_every_host(flags, hosts, chips, slices):
    filled = manifest(*flags)
    job = job_of(filled)["spec"]
    assert job["completionMode"] == "Indexed"
    assert job["parallelism"] == job["completions"] == hosts
    assert filled["spec"]["replicatedJobs"][0]["replicas"] == slices
    resources = container_of(filled)["resources"]
    assert resources["limits"] == resources["requests"] == {"google.com/tpu": chips}


def test_flags_reach_the_manifest():
    filled = manifest("--max_restarts=4", "--grace_seconds=90", "--service_account=writer")
    assert filled["spec"]["failurePolicy"]["maxRestarts"] == 4
    pod = job_of(filled)["spec"]["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] == 90
    assert pod["serviceAccountName"] == "writer"
    assert pod["nodeSelector"] == {
        "cloud.google.com/gke-tpu-accelerator": "tpu-v5-lite-podslice",
        "cloud.google.com/gke-tpu-topology": "16x16",
    }
    # A checkpoint of a large model takes minutes; Kubernetes gives half of one unasked.
    assert job_of(manifest())["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] >= 300


@pytest.mark.parametrize(
    "odd", ['it\'s "a"', "\\", "RESGEN_NAME", "$HOME `x` & é", "true", "{a: 1}"]
)
def test_arguments_arrive_as_they_were_written(odd):
    arguments = (*launchers.TRAIN, odd, f"--config.name={odd}")
    assert container_of(manifest(arguments=arguments))["args"] == [*arguments, "--distributed"]


def test_names_that_yaml_would_take_for_something_else():
    filled = manifest("--name=null", "--service_account=yes", "--image=1.5")
    assert filled["metadata"]["name"] == "null"
    assert job_of(filled)["spec"]["template"]["spec"]["serviceAccountName"] == "yes"
    assert container_of(filled)["image"] == "1.5"


def test_the_comment_names_every_placeholder():
    comment, _, body = (launchers.LAUNCH / "gke.yaml").read_text().partition("apiVersion")
    for name in re.findall(r"RESGEN_([A-Z_]+)", body):
        assert re.search(rf"\b{name}\b", comment), name


def test_kubectl_is_given_what_is_printed(tmp_path):
    launchers.stand_in(tmp_path / "kubectl", [f"cat >{tmp_path}/read", f"echo $* >{tmp_path}/said"])
    done = launchers.launch(
        "gke.sh", *launchers.GKE, *launchers.TRAIN, PATH=launchers.path_with(tmp_path)
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "said").read_text() == "apply --filename=-\n"
    assert yaml.safe_load((tmp_path / "read").read_text()) == manifest()
