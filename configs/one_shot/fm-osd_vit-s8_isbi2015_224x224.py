_base_ = [
    "../_base_/default_runtime.py",
    "../_base_/datasets/isbi2015.py",
    "../_base_/models/fm_osd.py",
    "../_base_/schedules/adam_200epochs.py",
]

model = dict(
    _delete_=True,
    type="CoarseToFineTemplateDetector",
    coarse=dict(_base_.model, init_cfg=dict(type="Pretrained", checkpoint="run:global:last")),
    context="coarse",
    fine=_base_.fine,
    coarse_size=(277, 224),
    patch_size=(224, 224),
)
# 500 copies of the template; patches about all landmarks of one copy are a batch of the fine stage.
ids = dict(split="train", ids=["125"])
custom_hooks = [dict(type="TemplateHook", template=ids)]
copied = [dict(type="RandomAffine", rotation=5, scale=0.01, shift=(0.02, 0.0248)), *_base_.plain]
whole = [dict(type="LoadImage", channels=1)]
small = [dict(type="LoadImage", size=(554, 448), channels=1), dict(type="Resize", size=(277, 224))]
copies = dict(_delete_=True, type="RepeatDataset", times=500, fixed=True)
train_dataloader = dict(
    batch_size=1, dataset=dict(copies, dataset=dict(_base_.dataset, **ids, pipeline=[*whole, *copied]))
)
val_dataloader = dict(batch_size=1, dataset=dict(split="test", pipeline=[*whole, *_base_.plain]))
test_dataloader = val_dataloader
train_cfg = dict(max_epochs=2, val_interval=2)
optim_wrapper = dict(optimizer=dict(lr=2e-4))
stages = [
    dict(
        name="global",
        model=dict(_delete_=True, **_base_.model),
        train_dataloader=dict(
            batch_size=4,
            dataset=dict(copies, dataset=dict(_base_.dataset, **ids, pipeline=[*small, *copied])),
        ),
        val_dataloader=dict(batch_size=4, dataset=dict(pipeline=[*small, *_base_.plain])),
        test_dataloader=dict(batch_size=4, dataset=dict(pipeline=[*small, *_base_.plain])),
        train_cfg=dict(max_epochs=160, val_interval=40),
    ),
    dict(name="fine"),
]
