"""From a scan and a trained network to a mask on the scan's own grid."""
