# FM-OSD: keys of a frozen vision transformer with their context, and from them an embedding of every pixel.
# The weights are fetched at the first start; a file takes their place in init_cfg.
dino = "https://dl.fbaipublicfiles.com/dino/dino_deitsmall8_pretrain/dino_deitsmall8_pretrain.pth"
model = dict(
    type="TemplateDetector",
    data_preprocessor=dict(
        type="LandmarkDataPreprocessor", channels=3, mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225]
    ),
    backbone=dict(
        type="VisionTransformer",
        stride=4,
        descriptor="key",
        log_bins=2,
        out_indices=(8,),
        frozen_stages=9,
        init_cfg=dict(type="Pretrained", checkpoint=dino),
    ),
    neck=dict(type="GlobalTokenEmbedding"),
    # Of images of 277 x 224 pixels.
    head=dict(
        type="TemplateHead",
        num_landmarks=19,
        codec=dict(type="GaussianHeatmapCodec", sigma=5, decoder="argmax"),
        loss=dict(type="HeatmapMSELoss"),
        anchors="image",
        matching=dict(size=(277, 224)),
    ),
)
# Of patches of 224 x 224 pixels of the full resolution; those of templates are kept at every fourth pixel.
fine = dict(
    model,
    neck=dict(type="LocalTokenEmbedding"),
    head=dict(
        model["head"],
        codec=dict(type="GaussianHeatmapCodec", sigma=2, decoder="argmax"),
        matching=dict(size=(56, 56)),
    ),
)
