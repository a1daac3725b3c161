"""What can go wrong for a shopper in simplified Chinese, by the templates of the errors (app/errors.py)."""

from __future__ import annotations

ERRORS = {
    # words
    "the query is empty; write what you are looking for, add a photo, or both": (
        "搜索内容为空；请输入您要找的商品，或添加照片，或两者都提供"
    ),
    "the text has {count} characters, {most} are allowed; shorten it": "文字有 {count} 个字符，最多 {most} 个；请缩短",
    "there are no words to search for; write what you are looking for": "没有可以搜索的文字；请输入您要找的商品",
    "there is nothing to predict from; add a photo, a title, or both": "没有可以预测的内容；请添加照片、标题或两者",
    "what is wanted and what is not cancel each other out; leave one of them out": (
        "想要的与不想要的互相抵消；请去掉其中之一"
    ),
    # photos
    "{name}: the file is larger than the limit of {limit} MB; provide a smaller version of it.": (
        "{name}：文件超过 {limit} MB 的上限；请提供较小的版本。"
    ),
    "{name}: the file is empty; provide a picture ({formats}).": "{name}：文件是空的；请提供图片（{formats}）。",
    "{name}: not a picture that can be read; provide one of these: {formats}.": (
        "{name}：不是可以读取的图片；请提供以下格式的文件：{formats}。"
    ),
    "{name}: the picture is damaged or incomplete ({error}); save or upload it again.": (
        "{name}：图片已损坏或不完整；请重新保存或上传。"
    ),
    "{name}: the picture has more pixels than the limit of {limit} megapixels{size}; scale it down.": (
        "{name}：图片超过 {limit} 百万像素的上限{size}；请缩小图片。"
    ),
    "{name}: the picture is only {width} x {height} pixels; at least {least} x {least} are needed.": (
        "{name}：图片只有 {width} x {height} 像素；至少需要 {least} x {least}。"
    ),
    "{name}: the picture is a strip of {width} x {height} pixels; crop it to the product "
    "(at most {most} times as long as wide).": (
        "{name}：图片是 {width} x {height} 像素的长条；请裁剪到商品（长度最多为宽度的 {most} 倍）。"
    ),
    "the box {box} marks nothing of the photo; give x0, y0, x1, y1 in pixels of the {width} x {height} photo": (
        "选框 {box} 没有选中照片的任何部分；请以 {width} x {height} 照片的像素给出 x0、y0、x1、y1"
    ),
    "Your photo is no longer on the server: upload it again": "您的照片已不在服务器上：请重新上传",
    "The picture cannot be read on the server; add a photo of the product": (
        "服务器无法读取这张图片；请添加一张商品的照片"
    ),
    "this search was made with a photo, which its address cannot hold; add it again": (
        "这次搜索使用了照片，而网址无法包含照片；请重新添加"
    ),
    "the photo in this address is unknown; add a photo of your own": "网址中的照片未知；请添加您自己的照片",
    "there is no photo to look at; add one": "没有可以查看的照片；请添加一张",
    "this server has no picture of the product to look at": "服务器上没有这件商品的图片可供查看",
    "there is no file; add a table with titles, or photos": "没有文件；请添加带有标题的表格或照片",
    # products, filters and pages
    "the index has no product {listed}; check the id or rebuild the index": (
        "索引中没有商品 {listed}；请检查编号或重建索引"
    ),
    "the index has no attribute {key} to filter by; it has: {listed}": (
        "索引中没有可以筛选的属性 {key}；现有：{listed}"
    ),
    "the index has no number {key} to filter by; it has: {listed}": "索引中没有可以筛选的数值 {key}；现有：{listed}",
    "the limits of {key} must be finite numbers; leave a side out to keep it open": (
        "{key} 的范围必须是有限的数；不限制的一侧请留空"
    ),
    "the index cannot be sorted by {key}; it has: {listed}": "索引不能按 {key} 排序；现有：{listed}",
    "limit is {limit}; it must be from 1 to {most}": "结果数量为 {limit}；必须在 1 到 {most} 之间",
    "offset is {offset}; it must be from 0 to {most}; narrow the search with filters": (
        "结果位置为 {offset}；必须在 0 到 {most} 之间；请用筛选条件缩小搜索范围"
    ),
    "build {build} is not kept any more; choose another one": ("索引 {build} 已不再保留；请选择另一个"),
    # the server
    "too many queries are waiting for the model; try again in a moment": "等待模型的查询过多；请稍后再试",
    "too many large photos are in work; send a smaller one, or try again in a moment": (
        "正在处理的大照片过多；请发送较小的照片，或稍后再试"
    ),
    "the server is shutting down; send the query again in a moment": "服务器正在关闭；请稍后重新搜索",
    "no index is published yet; run `indexer rebuild CATALOG`": "还没有发布索引；请运行 `indexer rebuild CATALOG`",
}
