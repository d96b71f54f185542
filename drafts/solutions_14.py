# Built as solutions_13.py is.
CELLS = r'''
## 1. Two numbers: 0.5 - 0.4 = 0.1
exercises.check_margin(0.5 - 0.4, probabilities=[0.5, 0.4, 0.1])
## 2. 80 x 120 clicks of 2.5 s are 24,000 s or 400 minutes: 4.44 frames
exercises.check_whole_frames(80 * 120 * 2.5 / 60 / 90, pixels=80, images=120, seconds=2.5, minutes=90)
## 3.
def least_confident(scores, asked, number):
    likeliest = np.where(asked, 2, scores.max(-1)).ravel()  # above all probabilities
    return np.argsort(likeliest)[:number]
'''
