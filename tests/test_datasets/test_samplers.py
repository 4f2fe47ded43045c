"""Samplers that tell the data the pass."""

from __future__ import annotations

from itertools import islice

from mmlandmark.datasets import DefaultSampler, EndlessDataset, InfiniteSampler, without_end
from test_datasets.six_cases import build, draw


def test_the_sampler_tells_the_data_the_epoch(root):
    dataset = build(root, pipeline=[draw])
    sampler = DefaultSampler(dataset, shuffle=True, seed=1)
    sampler.set_epoch(3)
    assert dataset.epoch == 3
    assert sorted(sampler) == list(range(6))


def test_indices_count_on_and_every_pass_draws_anew(root):
    dataset = EndlessDataset(build(root, pipeline=[draw]))
    indices = list(islice(iter(InfiniteSampler(dataset, shuffle=True, seed=0)), 18))
    for number in range(3):
        assert sorted(indices[6 * number : 6 * number + 6]) == list(range(6 * number, 6 * number + 6))
    samples = [dataset[i] for i in indices]
    assert len({sample["draw"] for sample in samples}) == 18
    assert {sample["id"] for sample in samples[:6]} == {sample["id"] for sample in samples[12:]}
    assert dataset[7] == dataset[7]


def test_a_loader_without_end_wraps_its_dataset():
    endless = dict(sampler=dict(type="InfiniteSampler"), dataset=dict(type="A"))
    assert without_end(endless)["dataset"] == dict(type=EndlessDataset, dataset=dict(type="A"))
    assert without_end(dict(endless, sampler=dict(type=InfiniteSampler)))["dataset"]["type"] is EndlessDataset
    finite = dict(sampler=dict(type="DefaultSampler"), dataset=dict(type="A"))
    assert without_end(finite) is finite
    built = object()
    assert without_end(built) is built
