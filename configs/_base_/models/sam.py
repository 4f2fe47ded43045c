# SAM in two dimensions, as the code of CC2D has it: ResNet-34 without pooling in its stem, an embedding of
# every second pixel that sees details, and one of every 16th that sees the whole.
model = dict(
    type="TemplateDetector",
    data_preprocessor=dict(type="LandmarkDataPreprocessor", channels=3),
    backbone=dict(
        type="ResNet",
        depth=34,
        pool=False,
        out_indices=(1, 2, 3, 4),
        init_cfg=dict(type="Pretrained", checkpoint="torchvision://resnet34"),
    ),
    neck=dict(type="FPN", channels=128, global_level=True),
    head=dict(
        type="TemplateHead",
        num_landmarks=19,
        codec=dict(type="GaussianHeatmapCodec", sigma=2, decoder="argmax"),
    ),
    contrast=dict(type="SampledContrastLoss"),
    # Two patches of 400 of 512 pixels.
    patches=dict(views=2, share=0.78, multiple=16, rotation=10.0),
)
# As the publication of SAM has it: 500 others at random and the 500 that are most like the point, at every
# level, and none of its neighbours.
hard_negatives = dict(random=(500, 0), hard=500, radius=(None, None), apart=3, temperature=2.0)
