"""Words that name a dataset, everywhere the same."""

import pytest

from prestow.errors import CODES, Exit, PrestowError
from prestow.model import DataId
from prestow.results.naming_words import parse_dataset
from prestow.testing.surveys import UNIVERSE

UUID = "ea49c55a-3728-50b9-9dcd-9f79a977abc2"


@pytest.mark.parametrize(
    ("words", "kind", "meaning"),
    [
        (["demo/isr/isr-000001.fits"], "path", "demo/isr/isr-000001.fits"),
        (["coadd.fits"], "path", "coadd.fits"),
        ([UUID], "id", UUID),
        ([UUID.upper()], "id", UUID),
        (["isr{ccd=3,visit=12}"], "dataset", "isr{detector=3,visit=12}"),
        (["isr", "visit=12", "ccd=03"], "dataset", "isr{detector=3,visit=12}"),
        (["isr", "filter=B 600/é"], "dataset", 'isr{band="B 600/é"}'),
        (["isr", "visit=12", "visit=012"], "dataset", "isr{visit=12}"),
        (["schema"], "dataset", "schema{}"),
        (["schema{}"], "dataset", "schema{}"),
    ],
)
def test_each_form_is_understood(words, kind, meaning):
    named = parse_dataset(words, UNIVERSE)
    assert (named.kind, str(named), named.text) == (kind, meaning, " ".join(words))


def test_a_file_that_exists_is_meant_whatever_it_is_called(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "isr").touch()
    (tmp_path / "odd{name}").touch()
    assert parse_dataset(["isr"], UNIVERSE).kind == "path"
    assert parse_dataset(["odd{name}"], UNIVERSE).path == "odd{name}"
    assert parse_dataset(["isr", "visit=1"], UNIVERSE).type == "isr"


def test_a_text_of_digits_stays_text():
    assert parse_dataset(["flat{band=7}"], UNIVERSE).data_id == DataId({"band": "7"})


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        ([], "PST-G006", "no dataset is named"),
        ([""], "PST-G006", "no dataset is named"),
        (["visit=12"], "PST-G006", "no dataset type before it"),
        (["a/b.fits", "visit=12"], "PST-G006", "not a dataset type"),
        (["isr", "12"], "PST-G006", "not of the form k=v"),
        (["isr{visit=12"], "PST-G006", "braces"),
        (["isr{visit}"], "PST-G006", "not a data ID"),
        (["ISR"], "PST-G006", "no path, dataset id or dataset type"),
        (["isr", "visit=12,ccd=3"], "PST-G006", "holds a second name, ccd"),
        (["isr", "vist=12"], "PST-C023", "did you mean 'visit'"),
        (["isr", "visit=twelve"], "PST-C026", "must be an integer"),
        (["isr", "band=r", "filter=g"], "PST-G008", "contradict each other: both are band"),
        (["isr", "visit=1", "visit=2"], "PST-G008", "contradict each other"),
        (["isr{band=r,filter=g}"], "PST-G008", "both are band"),
    ],
)
def test_what_cannot_be_understood_is_one_clear_error(words, code, says):
    with pytest.raises(PrestowError) as error:
        parse_dataset(words, UNIVERSE)
    (problem,) = error.value.problems
    assert problem.code == code
    assert says in str(problem)
    assert problem.where
    assert error.value.exit_code in (Exit.USAGE, Exit.CONFIGURATION)
    assert code in CODES


def test_all_that_is_wrong_is_said_at_once():
    with pytest.raises(PrestowError) as error:
        parse_dataset(["isr", "vist=12", "ccd=x"], UNIVERSE)
    assert [p.code for p in error.value.problems] == ["PST-C023", "PST-C026"]
