"""All ways to train for a step train the same model, from the same start."""

from __future__ import annotations

import pytest
import torch

from mmlandmark.testing import step_contenders, tiny_config
from mmlandmark.testing.step_contenders import COMPILED, OURS, training_steps

SIZE = (64, 64)
STUDENT, TEACHER = "student alone", "teacher's pass"


def test_all_make_the_same_step():
    config = tiny_config("unused")
    names = list(training_steps(config, SIZE, batch=2)[1])
    assert len(names) == 4
    gradients = {}
    for name in names:
        model, steps = training_steps(config, SIZE, batch=2)  # anew, from the same start
        steps[name]()
        gradients[name] = {key: parameter.grad for key, parameter in model.named_parameters()}
    for name in names[1:]:
        for key, expected in gradients[OURS].items():
            torch.testing.assert_close(
                gradients[name][key], expected, rtol=1e-2, atol=1e-5, msg=f"{name} {key}"
            )


def test_a_variant_trains_a_model_of_its_own():
    variant = {"model.head.loss.type": "HeatmapMSELoss"}
    model, steps = training_steps(tiny_config("unused"), SIZE, against=variant)
    steps["model.head.loss.type=HeatmapMSELoss"]()
    assert all(parameter.grad is None for parameter in model.parameters())


def test_volumes_are_trained_in_bfloat16_and_in_another_memory_format():
    variant = {"model.data_preprocessor.channels_last": True}
    model, steps = training_steps(tiny_config("unused"), (16, 20, 24), against=variant, amp=True)
    assert "published recipe" not in steps
    assert model.backbone.down1[0].conv.weight.ndim == 5
    gradients = []
    for name in (OURS, "in bfloat16"):
        steps[name]()
        gradients.append([p.grad.clone() for p in model.parameters()])
    assert any(not torch.equal(a, b) for a, b in zip(*gradients, strict=True))
    *_, last = steps
    steps[last]()


@pytest.fixture
def distilled():
    config = tiny_config("unused")
    plain = config.model.to_dict()
    student = dict(
        plain,
        type="DistilledDetector",
        teacher=dict(checkpoint="run:teacher:last"),
        terms=[dict(loss=dict(type="AttentionMapLoss"), pairs=[("backbone.up1", "backbone.up1")])],
    )
    config.stages = [dict(name="teacher", model=plain), dict(name="student", model=student)]
    return config


def test_a_student_is_measured_beside_itself_alone_and_its_teacher(distilled):
    model, steps = training_steps(distilled, SIZE)
    steps[TEACHER]()
    assert all(p.grad is None for p in model.parameters()), "the teacher's pass trains nobody"
    steps[STUDENT]()
    alone = {key: parameter.grad.clone() for key, parameter in model.named_parameters()}
    again, steps = training_steps(distilled, SIZE)  # anew, from the same start
    steps[OURS]()
    taught = {key: parameter.grad for key, parameter in again.named_parameters()}
    # A distillation term on the way up changes gradients before it, and none behind it.
    assert torch.equal(alone["head.convs.0.weight"], taught["head.convs.0.weight"])
    first = "backbone.down1.0.conv.weight"
    assert not torch.allclose(alone[first], taught[first])


def test_terms_are_measured_when_they_weigh_most_and_a_variant_has_the_same_teacher(distilled):
    distilled.stages[1].model.terms[0].weight = [(0, 0.0), (3, 1.0), (5, 0.0)]
    model, steps = training_steps(distilled, SIZE, against={"model.terms.0.weight": 0.5})
    assert model.epoch == 3
    steps["model.terms.0.weight=0.5"]()


def test_a_student_without_the_stage_of_its_teacher_is_refused(distilled):
    distilled.stages = distilled.stages[1:]
    distilled.stages[0].model.teacher.checkpoint = "x.pth"
    with pytest.raises(ValueError, match="measured with the stage that makes its input 'teacher'"):
        training_steps(distilled, SIZE)


def test_a_compiled_step_learns_the_same(monkeypatch):
    seen, compile_parts = [], step_contenders.compile_parts
    monkeypatch.setattr(
        step_contenders,
        "compile_parts",
        lambda model, given: seen.append(model) or compile_parts(model, given),
    )
    ours, steps = training_steps(tiny_config("unused"), SIZE, backend="eager")
    (compiled,) = seen
    compiled.load_state_dict(ours.state_dict())
    for name in (OURS, COMPILED):
        steps[name]()
    for name, value in ours.state_dict().items():
        torch.testing.assert_close(compiled.state_dict()[name], value, rtol=1e-5, atol=1e-6)
    assert compiled.backbone._compiled_call_impl is not None
    assert ours.backbone._compiled_call_impl is None
