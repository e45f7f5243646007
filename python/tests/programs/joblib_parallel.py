"""joblib takes a context for its backend; scikit-learn takes what joblib is told."""

import sys

import procession
from joblib import Parallel, delayed, parallel_config
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import GridSearchCV, cross_val_score


def square(number):
    return number * number


if __name__ == "__main__":
    ctx = procession.get_context(sys.argv[1])
    print(Parallel(n_jobs=2, backend=ctx)(delayed(square)(n) for n in range(10)))
    with parallel_config(backend="multiprocessing", context=ctx, n_jobs=2):
        features, kinds = load_iris(return_X_y=True)
        forest = RandomForestClassifier(10, random_state=0)
        print(cross_val_score(forest, features, kinds, cv=4).mean() > 0.9)
        search = GridSearchCV(forest, {"max_depth": [1, 3]}, cv=3).fit(features, kinds)
        print(search.best_params_)
