_base_ = [
    "../_base_/default_runtime.py",
    "../_base_/datasets/isbi2015.py",
    "../_base_/models/sam.py",
    "../_base_/schedules/adam_multistep.py",
]

# As published: the image fills a square, whatever its aspect ratio.
square = [dict(type="LoadImage", size=(1024, 1024), channels=1), dict(type="Resize", size=(512, 512))]
pipeline = [*square, *_base_.plain]
train_dataloader = dict(
    batch_size=8, drop_last=True, dataset=dict(unlabelled=True, split="train", pipeline=pipeline)
)
val_dataloader = dict(dataset=dict(split="test", pipeline=pipeline))
test_dataloader = val_dataloader
# Also on cells of 512 x 512 pixels, with truncated annotation, as the code of CC2D measures.
legacy = dict(type="LandmarkMetric", strict=True, legacy_grid=(512, 512), prefix="cc2d")
val_evaluator = [_base_.val_evaluator, legacy]
test_evaluator = val_evaluator
custom_hooks = [dict(type="TemplateHook", template=dict(split="train", ids=["125"]))]
# An epoch there is eleven of these, as of CC2D; 300 of them.
train_cfg = dict(max_epochs=3300, val_interval=330)
default_hooks = dict(checkpoint=dict(interval=11))
optim_wrapper = dict(optimizer=dict(lr=1e-3, weight_decay=1e-4))
param_scheduler = [dict(type="StepLR", step_size=550, gamma=0.5, by_epoch=True)]
