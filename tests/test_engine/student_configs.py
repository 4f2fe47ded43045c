"""Tiny configs of students and their teachers."""

import copy

from mmlandmark.testing import tiny_config

TERMS = [
    dict(
        loss=dict(type="AttentionMapLoss"),
        pairs=[("backbone.up1", "backbone.up2")],
        weight=[(0, 0), (4, 0.1)],
    ),
    dict(
        loss=dict(type="FeatureMSELoss", student_channels=8, teacher_channels=16),
        pairs=[("backbone.up1", "backbone.up1")],
    ),
]
EMA = dict(type="EMAHook", ema_type="ExponentialMovingAverage", momentum=0.2, update_buffers=True)


def teacher_model(config):
    model = copy.deepcopy(config.model.to_dict())
    model["backbone"]["widths"] = (8, 16, 16)
    return model


def student_model(config, checkpoint, teacher=()):
    return dict(
        config.model.to_dict(),
        type="DistilledDetector",
        teacher=dict(teacher, checkpoint=str(checkpoint)),
        terms=copy.deepcopy(TERMS),
    )


def two_stages(folder, epochs=3):
    config = tiny_config(folder, max_epochs=epochs)
    student = student_model(config, "run:teacher:last")
    config.stages = [
        dict(name="teacher", model=teacher_model(config), train_cfg=dict(max_epochs=1)),
        dict(name="student", model=student, custom_hooks=[dict(type="TeacherHook", num_samples=0), EMA]),
    ]
    return config


def student_config(folder, checkpoint, hook=(), teacher=(), **overrides):
    config = tiny_config(folder, **overrides)
    config.model = student_model(config, checkpoint, teacher)
    config.custom_hooks = [dict(type="TeacherHook", **dict(hook)), *config.get("custom_hooks", ())]
    return config
