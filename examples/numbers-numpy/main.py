import numpy as np


def main(event):
    x = np.array(event["numbers"], dtype=float)
    slope, intercept = np.polyfit(np.arange(x.size), x, 1)
    return {"mean": round(x.mean(), 3), "deviation": round(x.std(), 3), "slope": round(slope, 3)}
