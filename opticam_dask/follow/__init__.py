"""Follow a night: frames are reduced as they arrive in a folder."""

from opticam_dask.follow.run import FollowReport as FollowReport
from opticam_dask.follow.run import follow as follow
from opticam_dask.follow.settings import CatalogAfter as CatalogAfter
from opticam_dask.follow.settings import Live as Live
from opticam_dask.follow.settings import Reduction as Reduction
