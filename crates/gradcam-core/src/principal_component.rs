//! The first principal component of feature maps, on tensors.

use rayon::prelude::*;
use tch::{Kind, Tensor};

use crate::error::CamError;
use crate::kernel;

/// The first principal component over the channels of each sample, `[N, C, P]` to `[N, P]`, with the
/// sign of [`kernel::principal_component`].
///
/// The products are made where the terms are; the eigenvectors, of min(C, P) values each, on the CPU.
pub(crate) fn principal_component(terms: &Tensor) -> Result<Tensor, CamError> {
    let terms = terms.f_to_kind(Kind::Double)?;
    let (batch, channels, places) = terms.size3()?;
    let sums = terms.f_sum_dim_intlist([1i64].as_slice(), false, Kind::Double)?;
    let squares = terms
        .f_square()?
        .f_sum_dim_intlist([1i64, 2].as_slice(), false, Kind::Double)?;
    let centred = terms.f_sub(&terms.f_mean_dim([2i64].as_slice(), true, Kind::Double)?)?;
    let transposed = centred.f_transpose(1, 2)?;
    let by_place = places <= channels;
    let gram = if by_place {
        transposed.f_bmm(&centred)?
    } else {
        centred.f_bmm(&transposed)?
    };

    let rows = places.min(channels) as usize;
    let values = doubles(&gram)?;
    let vectors: Vec<f64> = values
        .par_chunks(rows * rows)
        .flat_map_iter(|matrix| {
            let (eigenvalue, vector) = kernel::first_eigenvector(matrix, rows);
            let length = if by_place { eigenvalue.max(0.0).sqrt() } else { 1.0 };
            vector.into_iter().map(move |value| value * length)
        })
        .collect();
    let mut maps = if by_place {
        vectors
    } else {
        let vectors = Tensor::f_from_slice(&vectors)?
            .f_view([batch, 1, channels])?
            .f_to_device(terms.device())?;
        doubles(&vectors.f_bmm(&centred)?)?
    };
    let (sums, squares) = (doubles(&sums)?, doubles(&squares)?);
    let places = places as usize;
    for ((map, sum), squares) in maps.chunks_mut(places).zip(sums.chunks(places)).zip(squares) {
        kernel::orient(map, sum, squares);
    }
    Ok(Tensor::f_from_slice(&maps)?
        .f_view([batch, places as i64])?
        .f_to_device(terms.device())?
        .f_to_kind(Kind::Float)?)
}

fn doubles(tensor: &Tensor) -> Result<Vec<f64>, CamError> {
    Ok(tensor.f_contiguous()?.f_view([-1])?.try_into()?)
}
