# Self-training on mouse heads by a small U-Net that sees them at 0.6 mm, and by an SCN.
_base_ = ["../../_base_/self_training_heads.py"]

config = "../unet_mouse-head_48x48x48_cpu.py"
seeds = [0, 1, 2]
baseline = "supervised"
arms = {"pre-trained": {}}
for name, stages in _base_.stages_of.items():
    arms[name] = {"inputs": {"load_from": "pre-trained"}, "stages": stages}
arms["scn_pre-trained"] = {"config": "../scn_mouse-head_48x48x48_cpu.py"}
for name in ("supervised", "regulated"):
    arms[f"scn_{name}"] = {
        "config": "../scn_mouse-head_48x48x48_cpu.py",
        "inputs": {"load_from": "scn_pre-trained"},
        "stages": _base_.stages_of[name],
    }
