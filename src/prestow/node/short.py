"""Manifests in a short form, of many jobs together: what they share is said once, and what follows from the rest not at all.

A pack has one document of what its jobs share, and for each job one of its own. What a job says itself goes before what
is shared. What is not said follows so:

* ``code``, ``layout``, ``plan``, ``resources``, ``run``, ``store`` and ``stores`` are the shared ones;
* a quantum has what the shared ``tasks`` have for its task, and the receipt of `prestow.commit.receipt_name`;
* an output has the data ID of the quantum that makes it, and lies under its path in the local repository;
* an input that is a number is that of the shared ``inputs``. It lies under its type and ``path`` in the local repository;
  and where it exists under ``path`` in the store ``in``, which may have a directory after its name. Its producer is the
  quantum of its receipt, if it is yet to be made; and its recipe the first 32 digits of its content.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from prestow.commit import receipt_name
from prestow.manifest import CARRIED, FLAT, LAYOUTS, RECIPE, Manifest

Plain = dict[str, Any]  # Any: JSON values

FRAME = ("code", "layout", "plan", "resources", "run", "store", "stores")
"""What a manifest says of all of the job."""

TASK = (
    "command", "config", "config_class", "entry", "ignore", "inputs", "outputs", "prototypes", "tolerate",
)  # fmt: skip
"""What quanta of one task mostly share."""

_ABSENT = ("content", "member", "producer", "receipt", "sha256", "size")


def shortened(manifests: Sequence[Manifest]) -> tuple[Plain, list[Plain]]:
    """Give what manifests share, and what each of them says itself; `expanded` gives them back.

    What an input says is shared if two jobs say it. For the rest, what the first says is.
    """
    plain = [_plain(manifest) for manifest in manifests]
    shared: Plain = {name: plain[0][name] for name in FRAME if name in plain[0]} if plain else {}
    tasks: Plain = {}
    for told in plain:
        for quantum in told["quanta"]:
            tasks.setdefault(quantum["task"], {name: quantum[name] for name in TASK})
    inputs = [[_short_input(i, m) for i in m["inputs"]] for m in plain]
    numbers = _often(inputs)
    shared.update(inputs=[json.loads(text) for text in numbers], tasks=tasks)
    return shared, [
        _own(told, shared, [numbers.get(_text(i), i) for i in mine])
        for told, mine in zip(plain, inputs, strict=True)
    ]


def expanded(shared: Mapping[str, Any], own: Mapping[str, Any]) -> Manifest:
    """Give the manifest of one job.

    Raises
    ------
    ValueError
        If these are not what `shortened` gives.
    """
    try:
        told: Plain = {name: value for name, value in {**shared, **own}.items() if name != "tasks"}
        layout = told.get("layout", LAYOUTS[0])
        told["quanta"] = [
            {"receipt": receipt_name(told["run"], q["task"], q["id"]), **shared["tasks"][q["task"]], **q}
            for q in own["quanta"]
        ]
        told["outputs"] = [dict(o) for o in own["outputs"]]
        for item, data_id in _made(told):
            item.setdefault("data_id", data_id)
            item.setdefault("local", _local(layout, "outputs", item["path"]))
        told["locations"] = {}
        told["inputs"] = [
            _long_input(dict(shared["inputs"][item] if isinstance(item, int) else item), layout, told["locations"])
            for item in own["inputs"]
        ]  # fmt: skip
        return Manifest.of(told)
    except (KeyError, TypeError, IndexError, AttributeError) as error:
        raise ValueError(f"not a short manifest: {error!r}") from error


def _plain(manifest: Manifest) -> Plain:
    found: Plain = json.loads(manifest.to_json())
    return found


def _text(value: object) -> str:
    return json.dumps(value, sort_keys=True)


def _often(inputs: Sequence[Sequence[Plain]]) -> dict[str, int]:
    """Give the texts of what more than one job says, with their numbers as first met."""
    jobs: dict[str, int] = {}
    for own in inputs:
        for text in dict.fromkeys(map(_text, own)):
            jobs[text] = jobs.get(text, 0) + 1
    return {text: number for number, text in enumerate(t for t, count in jobs.items() if count > 1)}


def _own(told: Plain, shared: Plain, inputs: list[Any]) -> Plain:
    own: Plain = {"job": told["job"], "inputs": inputs}
    for name in FRAME:
        if name == "layout":
            if told.get(name, LAYOUTS[0]) != shared.get(name, LAYOUTS[0]):
                own[name] = told.get(name, LAYOUTS[0])
        elif told[name] != shared[name]:
            own[name] = told[name]
    layout = told.get("layout", LAYOUTS[0])
    for item, data_id in _made(told):
        if item["data_id"] == data_id:
            del item["data_id"]
        if item["local"] == _local(layout, "outputs", item["path"]):
            del item["local"]
    own["outputs"] = told["outputs"]
    own["quanta"] = []
    for quantum in told["quanta"]:
        usual = shared["tasks"][quantum["task"]]
        said = {n: v for n, v in quantum.items() if n not in TASK or v != usual[n]}
        if said["receipt"] == receipt_name(told["run"], said["task"], said["id"]):
            del said["receipt"]
        own["quanta"].append(said)
    return own


def _made(told: Plain) -> Iterator[tuple[Plain, Plain | None]]:
    """Give each output with the data ID of the quantum that makes it; None if none does."""
    owner = {
        place: quantum["data_id"]
        for quantum in told["quanta"]
        for connection in quantum["outputs"].values()
        for place in connection["datasets"]
    }
    for place, item in enumerate(told["outputs"]):
        yield item, owner.get(place)


def _local(layout: str, top: str, name: str) -> str:
    """Give where a file lies in the local repository."""
    if layout != FLAT:
        return f"{top}/{name}"
    from prestow.model.flat import flat_name  # only where names are flat

    return f"{top}/{flat_name(name)}"


def _short_input(item: Plain, told: Plain) -> Plain:
    layout = told.get("layout", LAYOUTS[0])
    short = {name: value for name, value in item.items() if name not in _ABSENT or value is not None}
    if item["producer"] != _producer(item):
        short["producer"] = item["producer"]
    else:
        short.pop("producer", None)
    if item["content"] is not None and item["recipe"] == item["content"][:RECIPE]:
        del short["recipe"]
    place = told["locations"].get(item["id"])
    path = _path(item, layout)
    if path is not None:
        del short["local"]
        short["path"] = path
    if place is not None:
        within = _within(place, path, layout)
        short.update({"location": place} if within is None else {"in": within})
    return short


def _long_input(item: Plain, layout: str, locations: Plain) -> Plain:
    path = item.pop("path", None)
    if path is not None:
        item.setdefault("local", _local(layout, "inputs", f"{item['type']}/{path}"))
    if "location" in item:
        locations[item["id"]] = item.pop("location")
    elif "in" in item:
        store, _, directory = item.pop("in").partition("/")
        name = f"{directory}/{path}" if directory else path
        locations[item["id"]] = {"path": _logical(layout, store, name), "store": store}
    item.setdefault("producer", _producer(item))
    if item.get("content") is not None:
        item.setdefault("recipe", item["content"][:RECIPE])
    return item


def _producer(item: Mapping[str, Any]) -> str | None:
    """Give who makes an input of which this is known."""
    if item.get("receipt") is None or item.get("sha256") is not None:
        return None
    return str(item["receipt"]).rpartition("/")[2].removesuffix(".json")


def _path(item: Plain, layout: str) -> str | None:
    """Give the path that says where an input lies, or None if none does."""
    if layout != FLAT:
        path = str(item["local"]).removeprefix(f"inputs/{item['type']}/")
        return path if path != item["local"] else None
    whole = _unflattened(str(item["local"]).removeprefix("inputs/"))
    path = (whole or "").removeprefix(f"{item['type']}/")
    return path if whole and path != whole and _local(layout, "inputs", whole) == item["local"] else None


def _unflattened(name: str) -> str | None:
    """Give the path of a flat name; None if that is none."""
    from prestow.errors import PrestowError
    from prestow.model.flat import flat_path

    try:
        return flat_path(name)
    except PrestowError:
        return None


def _logical(layout: str, store: str, name: str) -> str:
    """Give the name of a file in a store: flat where names are, in the directory that an engine brings files to."""
    if layout != FLAT or store != CARRIED:
        return name
    from prestow.model.flat import flat_name

    return flat_name(name)


def _within(place: Plain, path: str | None, layout: str) -> str | None:
    """Give the store, and the directory in it, under which a path is a location; None if it is none."""
    if path is None:
        return None
    name = place["path"]
    if layout == FLAT and place["store"] == CARRIED:
        name = _unflattened(name)
    if name == path:
        return str(place["store"])
    directory = (name or "").removesuffix(f"/{path}")
    return f"{place['store']}/{directory}" if directory and directory != name else None
