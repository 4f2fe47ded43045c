# Generated radiographs: mmlandmark phantoms --kind spine --num-val 60 --out $PHANTOM_SPINE_ROOT
_base_ = ["./unet_phantom-ceph_160x128_cpu.py"]

load = [dict(type="LoadImage", size=(384, 192), channels=1), dict(type="Resize", size=(384, 192))]
root = dict(data_root="{{$PHANTOM_SPINE_ROOT:data/phantom_spine}}")
test = dict(dataset=dict(root, pipeline=[*load, *_base_.plain]))
train_dataloader = dict(dataset=dict(root, pipeline=[*load, *_base_.augmented]))
val_dataloader = test
test_dataloader = test
val_evaluator = dict(unit="px", radii=(1, 2, 4))
test_evaluator = val_evaluator
model = dict(backbone=dict(stem_stride=2, widths=(16, 32, 64, 128, 128)), head=dict(num_landmarks=68))
