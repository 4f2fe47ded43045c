_base_ = ["cc2d_vgg19_isbi2015_384x384.py", "../_base_/models/cc2d_student.py"]

# The first stage of UOD, at 384 x 384: CC2D's with narrow embeddings, large patches, and cosines as they are.
model = dict(
    neck=dict(embedding=16),
    contrast=dict(temperature=1.0, margin=0.0, window=6, clamp=True),
    patches=dict(share=256 / 384),
)
custom_hooks = [dict(type="TemplateHook", template=dict(split="train", ids=["126"]))]
val_evaluator = [_base_.val_evaluator[0]]
test_evaluator = val_evaluator
train_cfg = dict(max_epochs=800, val_interval=100)
optim_wrapper = dict(optimizer=dict(lr=1e-5))
param_scheduler = [dict(type="StepLR", step_size=50, gamma=0.8, by_epoch=True)]
# The second one, with the student of CC2D in place of its transformer for several data sets at once.
square = [dict(type="LoadImage", size=(1152, 1152), channels=1), dict(type="Resize", size=(576, 576))]
pipeline = [*square, *_base_.plain]
# Its target, 10 to the power of a Gaussian, is above 1 or 0, and its output stays below 1: a disc.
disc = dict(
    type="HeatmapCodec",
    sigma=28,
    shape="disc",
    activation="sigmoid",
    decoder=dict(type="blob_centroid", threshold=0.5),
)
student = dict(
    _base_.student, head=dict(_base_.student["head"], codec=disc, loss=dict(type="HeatmapBCELoss"))
)
stages = [
    _base_.ssl,
    dict(
        _base_.tpl,
        model=student,
        train_dataloader=dict(
            batch_size=2,
            sampler=dict(_base_.with_template, labelled=0.5),
            dataset=dict(unlabelled=False, ids=["126"], pipeline=pipeline),
            unlabelled=dict(ids=[f"{number:03}" for number in range(1, 151) if number != 126]),
        ),
        val_dataloader=dict(dataset=dict(pipeline=pipeline)),
        test_dataloader=dict(dataset=dict(pipeline=pipeline)),
        train_cfg=dict(max_epochs=60, val_interval=20),
        optim_wrapper=dict(optimizer=dict(lr=5.5e-4)),
        param_scheduler=[],
    ),
]
