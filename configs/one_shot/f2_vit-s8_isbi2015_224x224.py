_base_ = ["fm-osd_vit-s8_isbi2015_224x224.py"]

# Another detector by templates finds the landmarks roughly; both heads of FM-OSD place them.
cc2d = dict(
    type="TemplateDetector",
    data_preprocessor=dict(type="LandmarkDataPreprocessor", channels=3),
    backbone=dict(
        type="VGG", depth=19, pooled=True, init_cfg=dict(type="Pretrained", checkpoint="torchvision://vgg19")
    ),
    neck=dict(type="EmbeddingDecoder", widths=(128, 64, 128, 256)),
    head=dict(
        type="TemplateHead",
        num_landmarks=19,
        codec=dict(type="GaussianHeatmapCodec", sigma=2, decoder="argmax"),
    ),
    contrast=dict(type="CascadeContrastLoss"),
)
model = dict(
    coarse=dict(_delete_=True, **cc2d, init_cfg=dict(type="Pretrained", checkpoint="run:coarse:last")),
    coarse_size=(384, 384),
    context=dict(_base_.model.coarse, _delete_=True),
    context_size=(277, 224),
)
square = [dict(type="LoadImage", size=(768, 768), channels=1), dict(type="Resize", size=(384, 384))]
pipeline = [*square, *_base_.plain]
unlabelled = dict(_base_.dataset, split="train", unlabelled=True, pipeline=pipeline)
stages = [
    dict(
        name="coarse",
        model=dict(_delete_=True, **cc2d),
        train_dataloader=dict(batch_size=8, drop_last=True, dataset=dict(_delete_=True, **unlabelled)),
        val_dataloader=dict(batch_size=8, dataset=dict(pipeline=pipeline)),
        test_dataloader=dict(batch_size=8, dataset=dict(pipeline=pipeline)),
        train_cfg=dict(max_epochs=3300, val_interval=330),
        default_hooks=dict(checkpoint=dict(interval=11)),
        optim_wrapper=dict(optimizer=dict(lr=1e-3, weight_decay=1e-4)),
        param_scheduler=[dict(type="StepLR", step_size=550, gamma=0.5, by_epoch=True)],
    ),
    *_base_.stages,
]
