"""Rows of text to strategies: defaults, and one sentence for each thing that cannot be."""

from __future__ import annotations

import pytest

from planner.prediction.strategy import BadStrategy, Strategy, strategy_of


def read(gpus_of_cluster: int = 8, **row: str) -> Strategy:
    return strategy_of({"gbs": "64", "seq": "4096", **row}, gpus_of_cluster)


def test_what_a_row_leaves_out_has_a_default() -> None:
    assert read() == Strategy(
        *(8, 1, 1, 1, 1, 8, 1, 1, 64, 4096), "none", 1, "bf16", "1f1b", "megatron"
    )  # dp is what is left of gpus, which are all of the cluster
    assert read(dp="", tp="  ", zero="") == read()
    assert read(tp="2", pp="2").dp == 2
    assert read(gpus="4", tp="2").dp == 2
    assert read(mbs="2", pp="4").microbatches == 16


def test_all_of_it_said() -> None:
    row = {
        **{"gpus": "16", "tp": "2", "cp": "2", "ep": "2", "pp": "2", "dp": "2", "vpp": "2", "mbs": "4", "gbs": "32"},
        **{"recompute": "selective", "zero": "0", "precision": "fp8", "schedule": "zbv", "runtime": "torch"},
    }
    assert read(32, **row) == Strategy(16, 2, 2, 2, 2, 2, 2, 4, 32, 4096, "selective", 0, "fp8", "zbv", "torch")


def test_schedule_and_stages_follow_each_other() -> None:
    assert read(pp="4", vpp="2").schedule == "interleaved-1f1b"
    assert read(pp="4", vpp="12").vpp == 12  # a framework has no limit but the layers
    assert read(pp="4", schedule="interleaved-1f1b").vpp == 2
    assert read(pp="4", schedule="zbv", runtime="any").vpp == 2


def test_numbers_as_spreadsheets_write_them() -> None:
    assert read(tp="2.0", pp=" 2 ", gbs="+64", zero="0.") == read(tp="2", pp="2", zero="0")
    assert read(precision="fp16").precision == "bf16"


REFUSED = {
    "gbs is missing": {"gbs": ""},
    "seq is missing": {"seq": " "},
    "tp must be a positive whole number, not '0'": {"tp": "0"},
    "tp must be a positive whole number, not '-1'": {"tp": "-1"},
    "mbs must be a positive whole number, not '1.5'": {"mbs": "1.5"},
    "mbs must be a positive whole number, not '1e3'": {"mbs": "1e3"},
    "seq must be a positive whole number, not 'nan'": {"seq": "nan"},
    "seq must be a positive whole number, not '4,096'": {"seq": "4,096"},
    "seq must be a positive whole number, not '٤'": {"seq": "٤"},
    "gbs must be a positive whole number of at most 1,000,000,000, not '9999999999'": {"gbs": "9999999999"},
    "zero must be a whole number from 0 to 3, not '4'": {"zero": "4"},
    "gpus 16 are more than the 8 of the cluster": {"gpus": "16"},
    "tp 2 x cp 1 x pp 2 x dp 1 = 4 must be gpus 8": {"tp": "2", "pp": "2", "dp": "1"},
    "tp 3 x cp 1 x pp 1 = 3 must divide gpus 8, where dp is not given": {"tp": "3"},
    "ep 3 must divide cp 1 x dp 8 = 8, over which experts spread": {"ep": "3"},
    "mbs 3 x dp 8 = 24 must divide gbs 64": {"mbs": "3"},
    "mbs 1 x dp 8 = 8 must divide gbs 4": {"gbs": "4"},
    "gbs 800000000 is 100,000,000 microbatches of mbs 1 x dp 8, at most 1,000,000 may be": {"gbs": "800000000"},
    "cp 2 must divide seq 4095": {"cp": "2", "seq": "4095"},
    "recompute choose leaves it to a plan: name none, selective or full here": {"recompute": "choose"},
    "recompute 'ful' is not known: did you mean 'full'?": {"recompute": "ful"},
    "precision 'int8' is not known: there are: fp16, bf16, fp8, fp32": {"precision": "int8"},
    "schedule best leaves it to a search: name a schedule here, such as 1f1b": {"schedule": "best"},
    "schedule '1f2b' is not known: did you mean '1f1b'?": {"schedule": "1f2b"},
    "runtime 'megatrom' is not known: did you mean 'megatron'?": {"runtime": "megatrom"},
    "runtime megatron does not run zb1p: it runs 1f1b, interleaved-1f1b": {"schedule": "zb1p"},
    "runtime dualpipe does not run 1f1b: it runs dualpipe, dualpipev": {"runtime": "dualpipe"},
    "runtime fsdp has no pipeline: pp must be 1, not 2": {"runtime": "fsdp", "pp": "2"},
    "schedule 1f1b has one stage a rank: vpp must be 1, not 2": {"schedule": "1f1b", "pp": "2", "vpp": "2"},
    "schedule zbv has two stages a rank: vpp must be 2, not 3": {
        **{"schedule": "zbv", "pp": "2", "vpp": "3", "runtime": "torch"}
    },
    "vpp 2 needs a pipeline: pp must be above 1": {"vpp": "2"},
    "schedule dualpipe needs an even number of ranks: pp must be even, not 1": {
        **{"schedule": "dualpipe", "runtime": "dualpipe"}
    },
}


@pytest.mark.parametrize("reason", REFUSED)
def test_one_sentence_for_what_cannot_be(reason: str) -> None:
    with pytest.raises(BadStrategy) as refused:
        read(**REFUSED[reason])
    assert str(refused.value) == reason
