_base_ = [
    "../_base_/default_runtime.py",
    "../_base_/datasets/phantom_ceph.py",
    "../_base_/models/fm_osd_narrow.py",
    "../_base_/schedules/adamw_onecycle.py",
]

model = dict(
    _delete_=True,
    type="CoarseToFineTemplateDetector",
    coarse=dict(_base_.model, init_cfg=dict(type="Pretrained", checkpoint="run:global:last")),
    context="coarse",
    fine=_base_.fine,
    coarse_size=(160, 128),
    patch_size=(64, 64),
    batch_size=19,
)
# All that is learnt is learnt from copies of one image.
template = dict(split="train", indices=1)
custom_hooks = [dict(type="TemplateHook", template=template)]
read = dict(type="LoadImage", size=(320, 256), channels=1)
copy = dict(_base_.dataset, **template)
train_dataloader = dict(
    batch_size=1,
    dataset=dict(
        _delete_=True, type="RepeatDataset", times=40, dataset=dict(copy, pipeline=[read, *_base_.augmented])
    ),
)
val_dataloader = dict(dataset=dict(pipeline=[read, *_base_.plain]))
test_dataloader = dict(dataset=dict(pipeline=[read, *_base_.plain]))
train_cfg = dict(max_epochs=3, val_interval=3)
optim_wrapper = dict(dtype="float32", optimizer=dict(lr=1e-3))
param_scheduler = [dict(_base_.one_cycle, eta_max=1e-3)]
smaller = dict(dataset=dict(pipeline=[*_base_.load, *_base_.plain]))
changed = dict(dataset=dict(pipeline=[*_base_.load, *_base_.augmented]), times=100)
stages = [
    dict(
        name="global",
        model=dict(_delete_=True, **_base_.model),
        train_dataloader=dict(batch_size=4, dataset=changed),
        val_dataloader=smaller,
        test_dataloader=smaller,
        train_cfg=dict(max_epochs=5, val_interval=5),
    ),
    dict(name="fine"),
]
