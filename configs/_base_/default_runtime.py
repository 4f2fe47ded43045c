default_scope = "mmlandmark"

default_hooks = dict(
    timer=dict(type="IterTimerHook"),
    logger=dict(type="LoggerHook", interval=10),
    param_scheduler=dict(type="ParamSchedulerHook"),
    checkpoint=dict(type="CheckpointHook", interval=1, max_keep_ckpts=1),
    sampler_seed=dict(type="DistSamplerSeedHook"),
    epoch_seed=dict(type="EpochSeedHook"),
    invalid_loss=dict(type="InvalidLossHook"),
    peak_monitor=dict(type="PeakMonitorHook"),
    safe_checkpoint=dict(type="SafeCheckpointHook"),
    visualization=dict(type="LandmarkVisualizationHook"),
)

env_cfg = dict(mp_cfg=dict(mp_start_method="fork", opencv_num_threads=1), dist_cfg=dict(backend="nccl"))
vis_backends = [dict(type="LocalVisBackend")]
visualizer = dict(type="LandmarkVisualizer", vis_backends=vis_backends)
log_processor = dict(by_epoch=True, window_size=20)
log_level = "INFO"
load_from = None
resume = False
