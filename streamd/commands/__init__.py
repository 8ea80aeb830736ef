"""Voice commands as files: packs are read, written, checked and tried here; what they mean is core's business."""
