"""Which processes a verb finds: by its flag, and in the environments that launchers make."""

import importlib
import os

import jax
import pytest

from resgen_jax.core import errors
from resgen_jax.runtime import joining, roll_call

# As srun, mpirun of version 4 and 5, and GKE set them; jax's own tests have the same names.
SLURM = {
    "SLURM_JOB_ID": "4097",
    "SLURM_STEP_NODELIST": "node[007,009-011]",
    "SLURM_NTASKS": "4",
    "SLURM_STEP_NUM_TASKS": "4",
    "SLURM_PROCID": "3",
    "SLURM_LOCALID": "1",
}
SIZES = {
    "OMPI_COMM_WORLD_SIZE": "8",
    "OMPI_COMM_WORLD_RANK": "5",
    "OMPI_COMM_WORLD_LOCAL_SIZE": "4",
    "OMPI_COMM_WORLD_LOCAL_RANK": "1",
}
OPEN_MPI_4 = SIZES | {"OMPI_MCA_orte_hnp_uri": "1531576320.0;tcp://10.96.0.1,10.148.0.1:34911"}
OPEN_MPI_5 = SIZES | {"PMIX_NAMESPACE": "prterun-head-node-4101@1"}
GKE = {
    "TPU_SKIP_MDS_QUERY": "true",
    "TPU_WORKER_HOSTNAMES": "localhost,b,c,d",
    "TPU_WORKER_ID": "2",
    "MEGASCALE_NUM_SLICES": "",
    "MEGASCALE_SLICE_ID": "",
    "MEGASCALE_COORDINATOR_ADDRESS": "",
}
SLICES = {
    "MEGASCALE_NUM_SLICES": "2",
    "MEGASCALE_SLICE_ID": "1",
    "MEGASCALE_COORDINATOR_ADDRESS": "localhost",
}
PREFIXES = ("SLURM_", "OMPI_", "PMIX_", "TPU_", "MEGASCALE_", "JAX_COORD", "KUBERNETES_", "JOB_")


@pytest.fixture
def environment(monkeypatch):
    """Sets these variables, and none of any other launcher's."""

    def set_to(variables, on_tpu=False):
        for name in [name for name in os.environ if name.startswith(PREFIXES)]:
            monkeypatch.delenv(name)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        for module in ("cluster", "cloud_tpu_cluster"):
            found = importlib.import_module(f"jax._src.clusters.{module}")
            monkeypatch.setattr(found, "running_in_cloud_tpu_vm", on_tpu)

    return set_to


@pytest.mark.parametrize(
    ("variables", "expected", "local"),
    [
        (SLURM, ("node007:61441", 4, 3), (1,)),
        (SLURM | {"JAX_COORDINATOR_PORT": "77"}, ("node007:77", 4, 3), (1,)),
        (OPEN_MPI_4, ("10.96.0.1:62624", 8, 5), (1,)),
        (OPEN_MPI_5, ("head-node:65530", 8, 5), (1,)),
        (OPEN_MPI_5 | {"OMPI_COMM_WORLD_LOCAL_SIZE": "8"}, ("127.0.0.1:65530", 8, 5), (1,)),
        (OPEN_MPI_5 | {"JAX_COORDINATOR_ADDRESS": "a:1"}, ("a:1", 8, 5), (1,)),
        # mpirun in a Slurm job: every process of a host has the variables of one Slurm task.
        (OPEN_MPI_5 | SLURM, ("head-node:65530", 8, 5), (1,)),
    ],
)
def test_launchers_tell_of_the_others(environment, variables, expected, local):
    environment(variables)
    found = joining.find(None)
    assert found.place == roll_call.Place(*expected)
    assert found.local_device_ids == local


def test_tpu_pods_tell_of_the_others_and_share_no_device_ids(environment):
    environment(GKE, on_tpu=True)
    assert joining.find(None) == joining.Found(roll_call.Place("localhost:8482", 4, 2))
    environment(GKE | SLICES, on_tpu=True)
    assert joining.find(None) == joining.Found(roll_call.Place("localhost:8482", 8, 6))


@pytest.mark.parametrize(
    ("variables", "on_tpu"),
    [
        ({}, False),
        # A step of one task, a shell that salloc opened, the script that sbatch runs.
        (SLURM | {"SLURM_NTASKS": "1", "SLURM_STEP_NUM_TASKS": "1", "SLURM_PROCID": "0"}, False),
        (SLURM | {"SLURM_STEP_NUM_TASKS": "1", "SLURM_PROCID": "0"}, False),
        ({name: SLURM[name] for name in SLURM if "STEP" not in name}, False),
        (OPEN_MPI_5 | {"OMPI_COMM_WORLD_SIZE": "1"}, False),
        (OPEN_MPI_4 | {"OMPI_COMM_WORLD_SIZE": "1"}, False),
        (GKE | {"TPU_WORKER_HOSTNAMES": "localhost", "TPU_WORKER_ID": "0"}, True),
        ({"TPU_SKIP_MDS_QUERY": "1"}, True),
        # A pod of Kubernetes that belongs to no indexed job.
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, False),
    ],
)
def test_one_process_runs_alone(environment, monkeypatch, variables, on_tpu):
    environment(variables, on_tpu)
    monkeypatch.setattr(jax.distributed, "initialize", None)
    joining.join(None)
    joining.join(joining.OFF)
    found = joining.find(None)
    assert found is None or found.place.count == 1


def test_off_never_joins(environment, monkeypatch):
    environment(SLURM)
    monkeypatch.setattr(roll_call, "answer", None)
    joining.join(joining.OFF)


def test_a_search_that_is_forced_has_to_find(environment):
    environment({})
    with pytest.raises(errors.UserError, match="no other processes.*leave it out.*HOST|10.0.0.1"):
        joining.join(joining.ITSELF)


@pytest.mark.parametrize(
    "variables",
    [
        SLURM | {"SLURM_STEP_NUM_TASKS": "many"},
        SIZES | {"PMIX_NAMESPACE": "other"},
        OPEN_MPI_4 | {"OMPI_MCA_orte_hnp_uri": "4096.0;usock"},
        SLURM | {"JAX_COORDINATOR_ADDRESS": "node7"},
        SLURM | {"JAX_COORDINATOR_PORT": "any"},
    ],
)
def test_an_environment_that_is_not_understood_is_refused(environment, variables):
    environment(variables)
    with pytest.raises(errors.UserError, match="--distributed=off"):
        joining.join(None)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a:1", "it has 1 of the parts"),
        ("a:1,2", "it has 2 of the parts"),
        ("a:1,2,0,0", "it has 4 of the parts"),
        ("a,2,0", "'a' is no HOST:PORT"),
        (":1,2,0", "':1' is no HOST:PORT"),
        ("a:b,2,0", "port 'b' is no number"),
        ("a:0,2,0", "port '0' is no number"),
        ("a:65536,2,0", "port '65536' is no number"),
        ("::1:99,2,0", "stands in brackets"),
        ("a:1,0,0", "COUNT is '0'"),
        ("a:1,x,0", "COUNT is 'x'"),
        ("a:1,2,2", "NUMBER is '2'; expected 0 to 1"),
        ("a:1,2,-1", "NUMBER is '-1'; expected 0 to 1"),
        ("itslef", "it has 1 of the parts"),
    ],
)
def test_a_malformed_flag_says_what_is_wrong_and_the_way_out(text, said):
    with pytest.raises(errors.UserError) as refused:
        joining.join(text)
    assert said in str(refused.value)
    assert "HOST:PORT,COUNT,NUMBER" in str(refused.value)


def test_a_flag_that_is_right_is_read():
    assert joining.parse("a.b-c:123,4,3") == roll_call.Place("a.b-c:123", 4, 3)
    assert joining.parse("[::1]:123, 4, 0") == roll_call.Place("[::1]:123", 4, 0)
    assert roll_call.host_and_port("[::1]:123") == ("::1", 123)
    with pytest.raises(errors.UserError, match="--join_timeout is 0"):
        joining.join(None, 0)
