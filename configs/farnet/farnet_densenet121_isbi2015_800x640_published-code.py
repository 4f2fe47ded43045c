_base_ = ["./farnet_densenet121_isbi2015_800x640.py"]

# What the published code does differently from the paper, for reproducing its numbers; see README.md.
model = dict(
    type="PublishedFARNetDetector",
    data_preprocessor=dict(type="PublishedFARNetPreprocessor"),
    head=dict(codec=dict(type="PublishedFARNetCodec")),
)
