# Self-training on mouse heads by a small U-Net that sees them at 0.6 mm, and by one with dilated blocks.
_base_ = ["../../_base_/self_training_heads.py"]

config = "../unet_mouse-head_48x48x48_cpu.py"
seeds = [0, 1, 2]
baseline = "supervised"
arms = {"pre-trained": {}}
for name, stages in _base_.stages_of.items():
    arms[name] = {"inputs": {"load_from": "pre-trained"}, "stages": stages}
arms["dilated_pre-trained"] = {"config": "../unet-dilated_mouse-head_48x48x48_cpu.py"}
for name in ("supervised", "regulated"):
    arms[f"dilated_{name}"] = {
        "config": "../unet-dilated_mouse-head_48x48x48_cpu.py",
        "inputs": {"load_from": "dilated_pre-trained"},
        "stages": _base_.stages_of[name],
    }
