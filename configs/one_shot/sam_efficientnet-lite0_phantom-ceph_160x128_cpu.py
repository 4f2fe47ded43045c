_base_ = "cc2d_efficientnet-lite0_phantom-ceph_160x128_cpu.py"

# A detailed embedding of every second pixel and a global one of every 16th. Two patches of 128 x 96 pixels.
model = dict(
    neck=dict(_delete_=True, type="FPN", channels=64, global_level=True),
    contrast=dict(_delete_=True, type="SampledContrastLoss", random=(1000, 100), radius=(50, None)),
    patches=dict(views=2, share=0.78, multiple=16, rotation=10.0),
)
