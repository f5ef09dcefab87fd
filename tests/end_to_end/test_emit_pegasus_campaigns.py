"""The acceptance campaigns for Pegasus: the same bytes each time, and what Pegasus's own interface writes."""

import io
import json
import os
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
import yaml

from prestow.commit import receipt_name
from prestow.manifest import CARRIED
from prestow.naming.identity import uuid_text
from prestow.node.packed import packed_jobs
from prestow.plan import Plan, open_plan

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("PRESTOW_TEST_DATA", ROOT.parent / "shared" / "data"))
FILES = {
    "README.md",
    "pegasus.properties",
    "replicas.yml",
    "sites.yml",
    "submission.json",
    "transformations.yml",
    "workflow.yml",
}
OTHERWISE = {
    "PYTHONHASHSEED": "4711",
    "TZ": "Asia/Kathmandu",
    "USER": "somebody",
    "HOME": "/nowhere",
    "POLARS_MAX_THREADS": "3",
}


def tree_of(directory: Path) -> dict[str, bytes]:
    return {
        str(p.relative_to(directory)): p.read_bytes() for p in sorted(directory.rglob("*")) if p.is_file()
    }


def project(root: Path, pipeline: Path) -> None:
    root.mkdir(parents=True, exist_ok=True)
    where = json.dumps(os.path.relpath(pipeline, root))
    (root / "prestow.yaml").write_text(
        f"schema: prestow.project/1\nregistry: sqlite:///registry.db\nstore: store\npipeline: {where}\n"
    )


# ------------------------------------------------------------ the acceptance campaigns, planned


def reduction(root: Path, inside: Any) -> None:
    folder = ROOT / "workflows" / "ccd_reduction"
    simulated(folder, root, "--size", "tiny")
    project(root, folder / "pipeline.yaml")
    inside("ingest", "--raw", "raw", "--instrument", "simcam", cwd=root)


def cafos(root: Path, inside: Any) -> None:
    """Real frames that stay where they are: a second store."""
    if not (DATA / "uam-ngc2420").exists():
        pytest.skip(f"no real frames at {DATA}: set PRESTOW_TEST_DATA")
    project(root, ROOT / "workflows" / "ccd_reduction" / "cafos.yaml")
    inside(
        "ingest", "--raw", DATA / "uam-ngc2420", "--instrument", "cafos", "--transfer", "in-place", cwd=root
    )


def coadds(root: Path, inside: Any) -> None:
    folder = ROOT / "workflows" / "coadd_frames"
    simulated(folder, root)
    project(root, folder / "pipeline.yaml")
    inside("ingest", "--raw", "raw", "--instrument", "sdss", cwd=root)
    inside("ingest", "--as", "reference_catalogue", "stars.fits", cwd=root)


def sdss(root: Path, inside: Any) -> None:
    data = DATA / "sdss-stripe82"
    if not data.exists():
        pytest.skip(f"no real frames at {data}: set PRESTOW_TEST_DATA")
    project(root, ROOT / "workflows" / "coadd_frames" / "pipeline.yaml")
    inside("ingest", "--raw", data, "--instrument", "sdss", cwd=root)
    inside("ingest", "--as", "reference_catalogue", data / "ref_cat" / "stars.fits", cwd=root)


def simulated(folder: Path, root: Path, *words: str) -> None:
    command = [sys.executable, str(folder / "simulate.py"), str(root), "--seed", "1", *words]
    subprocess.run(command, check=True, capture_output=True)


@pytest.fixture(scope="module", params=[reduction, cafos, coadds, sdss], ids=lambda make: make.__name__)
def campaign(
    request: Any, tmp_path_factory: pytest.TempPathFactory, inside: Any, site_file: Any
) -> tuple[Path, Path, Plan]:
    """A project with a plan, its site file, and the plan; emitted into ``out``."""
    pytest.importorskip("astropy")
    root = tmp_path_factory.mktemp(request.param.__name__)
    request.param(root, inside)
    plan = open_plan(root / "plans" / inside("plan", "--json", cwd=root).json["plan"])
    stores = set(plan.tables["locations"]["store"]) - {"archive"}
    site = site_file(root, **{name: f"file://{DATA / 'uam-ngc2420'}" for name in stores})
    inside("emit", "pegasus", "--site", site, "--into", "out", cwd=root)
    return root, site, plan


def test_it_is_the_same_to_the_byte_elsewhere_and_under_another_hash_seed(
    campaign: tuple[Path, Path, Plan], prestow: Any, inside: Any, tmp_path: Path
) -> None:
    root, site, plan = campaign
    call = ("-C", root, "emit", "pegasus", plan.id, "--site", site, "--into")
    inside(*call, tmp_path / "here", cwd=root)
    prestow(*call, tmp_path / "there", cwd=Path("/"), env=OTHERWISE)
    assert tree_of(tmp_path / "here") == tree_of(tmp_path / "there") == tree_of(root / "out")


def test_there_is_nothing_in_it_of_this_machine_but_what_the_site_file_says(
    campaign: tuple[Path, Path, Plan],
) -> None:
    root, site, _ = campaign
    said = yaml.safe_load(site.read_text())
    known = [*said["stores"].values(), said["pegasus"]["python"]]
    written = tree_of(root / "out")
    assert set(written) >= FILES
    for name, data in written.items():
        text = data.decode()
        for place in sorted(known, key=len, reverse=True):
            text = text.replace(place, "")
        assert str(root) not in text, name
        assert os.uname().nodename not in text, name


def test_yaml_and_json_read_the_same_of_it(campaign: tuple[Path, Path, Plan]) -> None:
    for path in (campaign[0] / "out").glob("*.yml"):
        text = path.read_text()
        assert yaml.load(text, yaml.CSafeLoader) == json.loads(text), path.name


def test_it_is_what_the_plan_says(campaign: tuple[Path, Path, Plan]) -> None:
    """Read back: the same jobs, files and edges, and manifests that name the same."""
    root, _, plan = campaign
    workflow, replicas = (
        json.loads((root / "out" / f"{n}.yml").read_text()) for n in ("workflow", "replicas")
    )
    names, expected = expected_of(plan)
    reads = {j["nodeLabel"]: {u["lfn"] for u in j["uses"] if u["type"] == "input"} for j in workflow["jobs"]}
    makes = {j["nodeLabel"]: {u["lfn"] for u in j["uses"] if u["type"] == "output"} for j in workflow["jobs"]}
    assert list(reads) == names
    assert makes == expected["makes"]
    assert {n: {f for f in files if not f.endswith(".pack")} for n, files in reads.items()} == expected[
        "reads"
    ]
    label = {job["id"]: job["nodeLabel"] for job in workflow["jobs"]}
    edges = {(label[d["id"]], label[c]) for d in workflow["jobDependencies"] for c in d["children"]}
    assert edges == expected["edges"]
    carried = {
        (parent, child)
        for child in names
        for parent in names
        if parent != child and makes[parent] & reads[child]
    }
    assert carried == edges  # what a job waits for is what it is brought
    found = {
        r["lfn"]: (r.get("metadata", {}).get("size"), r.get("checksum", {}).get("sha256"))
        for r in replicas["replicas"]
    }
    assert {k: v for k, v in found.items() if v[1]} == expected["replicas"]
    told = {m.job: m for pack in sorted((root / "out/inputs/manifests").iterdir()) for m in packed_jobs(pack)}
    assert list(told) == names
    for name, manifest in told.items():
        assert {q.receipt for q in manifest.quanta} == makes[name]
        assert {(place.store, place.path in reads[name]) for place in manifest.locations.values()} <= {
            (CARRIED, True)
        }
        assert list(manifest.stores) == ["archive"]
    facts = {
        k: v
        for j in workflow["jobs"]
        for u in j["uses"]
        for k, v in u.get("metadata", {}).items()
        if k.endswith(".path")
    }
    assert {k.removesuffix(".path") for k in facts} == set(plan.files()["type"])


def expected_of(plan: Plan) -> tuple[list[str], dict[str, Any]]:
    """Give what is in the plan's tables, row by row."""
    tables = {name: plan.tables[name].to_dicts() for name in ("jobs", "inputs", "locations", "job_edges")}
    quanta = plan.tables["quanta"].with_columns(uuid_text(plan.tables["quanta"]["id"])).to_dicts()
    names = [job["name"] for job in tables["jobs"]]
    receipt = [receipt_name(plan.run, q["task"], q["id"]) for q in quanta]
    producer = plan.tables["datasets"]["producer"].to_list()
    there = {row["dataset"]: row for row in tables["locations"]}
    logical = {
        n: row["path"] if row["store"] == "archive" else f"_external/{row['store']}/{row['path']}"
        for n, row in there.items()
    }
    makes: dict[str, set[str]] = defaultdict(set)
    reads: dict[str, set[str]] = defaultdict(set)
    for quantum, name in zip(quanta, receipt, strict=True):
        makes[names[quantum["job"]]].add(name)
        reads[names[quantum["job"]]] |= {plan.code.path} if plan.code else set()
    for row in tables["inputs"]:
        job, maker = quanta[row["quantum"]]["job"], producer[row["dataset"]]
        if maker is None:
            reads[names[job]].add(logical[row["dataset"]])
            reads[names[job]] |= {there[row["dataset"]]["receipt"]} - {None}
        elif quanta[maker]["job"] != job:
            reads[names[job]].add(receipt[maker])
    replicas = {logical[n]: (str(row["size"]), row["sha256"]) for n, row in there.items()}
    if plan.code:
        replicas[plan.code.path] = (str(plan.code.size), plan.code.sha256)
    edges = {(names[e["parent"]], names[e["child"]]) for e in tables["job_edges"]}
    return names, {"makes": dict(makes), "reads": dict(reads), "edges": edges, "replicas": replicas}


# ------------------------------------------------------------ what Pegasus's own interface writes


def test_it_is_what_the_interface_of_pegasus_writes(campaign: tuple[Path, Path, Plan]) -> None:
    api = pytest.importorskip("Pegasus.api")
    root, site, plan = campaign
    mine = {p.stem: json.loads(p.read_text()) for p in (root / "out").glob("*.yml")}
    theirs = by_the_interface(api, plan, yaml.safe_load(site.read_text()), mine["workflow"])
    for name in ("workflow", "replicas", "sites", "transformations"):
        assert canonical(mine[name]) == canonical(theirs[name]), name
    lines = (root / "out/pegasus.properties").read_text().splitlines()
    written = api.Properties()
    for line in lines:
        key, _, value = line.partition(" = ")
        written[key] = value
    stream = io.StringIO()
    written.write(stream)
    assert sorted(line for line in stream.getvalue().splitlines() if line) == lines


def by_the_interface(api: Any, plan: Plan, site: dict[str, Any], mine: dict[str, Any]) -> dict[str, Any]:
    """Build the same workflow with ``Pegasus.api`` from the plan; only packs and profiles are as emitted."""
    names, expected = expected_of(plan)
    quanta = plan.tables["quanta"].with_columns(uuid_text(plan.tables["quanta"]["id"])).to_dicts()
    datasets = plan.tables["datasets"].with_columns(uuid_text(plan.tables["datasets"]["id"])).to_dicts()
    facts: dict[str, dict[str, str]] = {}
    for number, quantum in enumerate(quanta):
        told = {"quantum": quantum["id"], "task": quantum["task"], "data_id": words(quantum["data_id"])}
        for row in plan.tables["outputs"].filter(quantum=number).to_dicts():
            made = datasets[row["dataset"]]
            told |= {
                f"{made['type']}.{k}": v
                for k, v in (("id", made["id"]), ("path", made["path"]), ("data_id", words(made["data_id"])))
            }
        facts[receipt_name(plan.run, quantum["task"], quantum["id"])] = told
    emitted = {job["nodeLabel"]: job for job in mine["jobs"]}
    workflow = api.Workflow(f"{plan.run}-{plan.id[:8]}", infer_dependencies=False)
    workflow.add_metadata(plan=plan.id, run=plan.run)
    jobs = {}
    for name in names:
        pack = emitted[name]["arguments"][2]
        job = api.Job("node", namespace="prestow", _id=emitted[name]["id"], node_label=name)
        job.add_args(
            "-m", "prestow.node", pack, "--job", name, "--carry", ".", *emitted[name]["arguments"][7:]
        )
        job.add_inputs(*(api.File(f) for f in sorted({pack, *expected["reads"][name]})))
        for receipt in sorted(expected["makes"][name]):
            job.add_outputs(
                api.File(receipt).add_metadata(**facts[receipt]), stage_out=False, register_replica=False
            )
        profiles = emitted[name]["profiles"]
        assert set(profiles["pegasus"]) == {"memory", "cores", "diskspace", "label"}
        job.add_pegasus_profile(
            **{
                **profiles["pegasus"],
                "memory": f"{profiles['pegasus']['memory']} MB",
                "diskspace": f"{profiles['pegasus']['diskspace']} MB",
            }
        )
        dagman = profiles["dagman"]
        job.add_dagman_profile(retry=dagman["RETRY"], priority=dagman["PRIORITY"])
        jobs[name] = job
        workflow.add_jobs(job)
    for parent in sorted({p for p, _ in expected["edges"]}):
        workflow.add_dependency(
            jobs[parent], children=[jobs[c] for p, c in sorted(expected["edges"]) if p == parent]
        )
    replicas = api.ReplicaCatalog()
    for row in plan.tables["locations"].to_dicts():
        store, path = row["store"], row["path"]
        name = path if store == "archive" else f"_external/{store}/{path}"
        file = api.File(name, size=str(row["size"]))
        replicas.add_replica(
            "local", file, f"{site['stores'][store]}/{path}", checksum={"sha256": row["sha256"]}
        )
        if row["receipt"]:
            replicas.add_replica(
                "local", api.File(row["receipt"]), f"{site['stores'][store]}/{row['receipt']}"
            )
    code = plan.code
    assert code is not None
    replicas.add_replica(
        "local",
        api.File(code.path, size=str(code.size)),
        f"{site['stores']['archive']}/{code.path}",
        checksum={"sha256": code.sha256},
    )
    return {
        "workflow": written(workflow), "replicas": written(replicas), "sites": written(sites(api, site)),
        "transformations": written(transformations(api, site)),
    }  # fmt: skip


def sites(api: Any, site: dict[str, Any]) -> Any:
    def place(kind: Any, path: str) -> Any:
        return api.Directory(kind, path).add_file_servers(api.FileServer(f"file://{path}", api.Operation.ALL))

    work = site["pegasus"]["work"]
    local = api.Site("local", arch=api.Arch.X86_64, os_type=api.OS.LINUX)
    local.add_directories(
        place(api.Directory.SHARED_SCRATCH, f"{work}/local/scratch"),
        place(api.Directory.LOCAL_STORAGE, f"{work}/local/storage"),
    )
    pool = api.Site("pool", arch=api.Arch.X86_64, os_type=api.OS.LINUX)
    pool.add_directories(place(api.Directory.SHARED_SCRATCH, f"{work}/pool/scratch"))
    pool.add_pegasus_profile(style="condor")
    pool.add_profiles(api.Namespace.PEGASUS, key="auxillary.local", value="true")
    pool.add_condor_profile(
        universe="vanilla",
        when_to_transfer_output="ON_SUCCESS",
        periodic_remove="(JobStatus == 5) && ((time() - EnteredCurrentStatus) > 60)",
    )
    pool.add_profiles(api.Namespace.CONDOR, key="success_exit_code", value="0")
    pool.add_profiles(api.Namespace.CONDOR, key="max_retries", value="0")
    for stream in ("stream_error", "stream_output"):
        pool.add_profiles(api.Namespace.CONDOR, key=stream, value="true")
    pool.add_profiles(api.Namespace.CONDOR, key="+ProjectName", value="survey")
    return api.SiteCatalog().add_sites(local, pool)


def transformations(api: Any, site: dict[str, Any]) -> Any:
    from prestow.node.execute import FIXED

    python = site["pegasus"]["python"]
    node = api.Transformation(
        "node",
        namespace="prestow",
        site="pool",
        pfn=python,
        is_stageable=False,
        arch=api.Arch.X86_64,
        os_type=api.OS.LINUX,
    )
    return api.TransformationCatalog().add_transformations(node.add_env(**FIXED))


def written(what: Any) -> Any:
    stream = io.StringIO()
    what.write(stream)
    return yaml.load(stream.getvalue(), yaml.CSafeLoader)


def words(data_id: str) -> str:
    return ",".join(f"{k}={v}" for k, v in sorted(json.loads(data_id).items()))


def canonical(document: Any) -> Any:
    """Sort what has no order, and leave out who wrote it when."""
    if isinstance(document, dict):
        return {
            k: sorted(v) if k == "children" else canonical(v) for k, v in document.items() if k != "x-pegasus"
        }
    if isinstance(document, list):
        plain = [canonical(item) for item in document]
        named = all(isinstance(item, dict) for item in plain)
        return sorted(plain, key=lambda item: json.dumps(item, sort_keys=True)) if named else plain
    return document
