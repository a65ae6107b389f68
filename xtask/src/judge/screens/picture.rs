//! Makes pictures small enough to be kept in the repository.
//!
//! A page of flat colours and text has a few hundred colours; the 256 most common
//! ones are kept, and each other becomes the nearest of them. What differs are single
//! pixels at the edges of letters, by a shade that no eye sees.

use std::collections::HashMap;
use std::io::Cursor;

use anyhow::{Result, ensure};

type Colour = [u8; 3];

/// Rewrites a PNG with a palette.
pub(super) fn shrink(png: &[u8]) -> Result<Vec<u8>> {
    let mut decoder = png::Decoder::new(Cursor::new(png));
    decoder.set_transformations(png::Transformations::normalize_to_color8());
    let mut reader = decoder.read_info()?;
    let mut bytes = vec![0; reader.output_buffer_size().unwrap_or_default()];
    let frame = reader.next_frame(&mut bytes)?;
    let channels = frame.color_type.samples();
    ensure!(channels >= 3, "a picture without colours");
    let pixels: Vec<Colour> = bytes[..frame.buffer_size()]
        .chunks_exact(channels)
        .map(|pixel| [pixel[0], pixel[1], pixel[2]])
        .collect();

    let (palette, indices) = quantise(&pixels);
    let mut small = Vec::new();
    let mut encoder = png::Encoder::new(&mut small, frame.width, frame.height);
    encoder.set_color(png::ColorType::Indexed);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_palette(palette.concat());
    encoder.set_compression(png::Compression::High);
    encoder.set_filter(png::Filter::NoFilter);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(&indices)?;
    writer.finish()?;
    Ok(small)
}

/// The 256 most common colours, and for each pixel the index of the nearest of them.
fn quantise(pixels: &[Colour]) -> (Vec<Colour>, Vec<u8>) {
    let mut counts: HashMap<Colour, usize> = HashMap::new();
    for pixel in pixels {
        *counts.entry(*pixel).or_default() += 1;
    }
    let mut by_count: Vec<(usize, Colour)> = counts
        .into_iter()
        .map(|(colour, count)| (count, colour))
        .collect();
    // By count, then by colour, so that the same page gives the same file.
    by_count.sort_unstable_by(|one, other| other.cmp(one));
    let palette: Vec<Colour> = by_count.iter().take(256).map(|(_, colour)| *colour).collect();
    let nearest: HashMap<Colour, u8> = by_count
        .iter()
        .map(|(_, colour)| {
            let index = (0_u8..=u8::MAX)
                .zip(&palette)
                .min_by_key(|(_, candidate)| distance(*colour, **candidate))
                .map_or(0, |(index, _)| index);
            (*colour, index)
        })
        .collect();
    let indices = pixels.iter().map(|pixel| nearest[pixel]).collect();
    (palette, indices)
}

/// A picture for a client that has none: a light square on a dark one.
pub(super) fn logo() -> Result<Vec<u8>> {
    let pixels = (0..64_u32 * 64).flat_map(|at| {
        let is_inside = (16..48).contains(&(at % 64)) && (16..48).contains(&(at / 64));
        if is_inside { [250, 240, 215] } else { [88, 60, 140] }
    });
    let mut png = Vec::new();
    let mut encoder = png::Encoder::new(&mut png, 64, 64);
    encoder.set_color(png::ColorType::Rgb);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(&pixels.collect::<Vec<u8>>())?;
    writer.finish()?;
    Ok(png)
}

fn distance(one: Colour, other: Colour) -> u32 {
    one.iter()
        .zip(other)
        .map(|(a, b)| u32::from(a.abs_diff(b)).pow(2))
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encode(pixels: &[Colour], width: u32) -> Vec<u8> {
        let mut png = Vec::new();
        let height = u32::try_from(pixels.len()).unwrap() / width;
        let mut encoder = png::Encoder::new(&mut png, width, height);
        encoder.set_color(png::ColorType::Rgb);
        let mut writer = encoder.write_header().unwrap();
        writer.write_image_data(&pixels.concat()).unwrap();
        writer.finish().unwrap();
        png
    }

    fn decode(png: &[u8]) -> Vec<u8> {
        let mut decoder = png::Decoder::new(Cursor::new(png));
        decoder.set_transformations(png::Transformations::EXPAND);
        let mut reader = decoder.read_info().unwrap();
        let mut bytes = vec![0; reader.output_buffer_size().unwrap()];
        let frame = reader.next_frame(&mut bytes).unwrap();
        bytes.truncate(frame.buffer_size());
        bytes
    }

    #[test]
    fn a_picture_of_few_colours_keeps_every_pixel() {
        let pixels = [[0, 0, 0], [255, 255, 255], [18, 52, 86], [0, 0, 0]];
        let png = encode(&pixels, 2);
        assert_eq!(decode(&shrink(&png).unwrap()), pixels.concat());
    }

    #[test]
    fn a_rare_colour_becomes_the_nearest_common_one() {
        let mut pixels: Vec<Colour> = (0..=255).flat_map(|shade| [[shade, 0, 0]; 2]).collect();
        pixels.extend([[10, 3, 0], [200, 0, 9]]);
        let shrunk = decode(&shrink(&encode(&pixels, 2)).unwrap());
        assert_eq!(shrunk[shrunk.len() - 6..], [10, 0, 0, 200, 0, 0]);
    }
}
